internal import BlockStorage
internal import Foundation
internal import LinuxIO
internal import Synchronization
import Testing

@Suite struct WaitTests {
    private final class Counter: WaitObserver {
        let begun = Atomic(0), ended = Atomic(0)
        let wants = Atomic(true)
        var wantsNotice: Bool { wants.load(ordering: .relaxed) }
        func beginsWaiting() { begun.add(1, ordering: .relaxed) }
        func endsWaiting() { ended.add(1, ordering: .relaxed) }
    }

    /// A wake-up that comes first is not lost, and counts once.
    @Test func wakingBeforeSleepingCounts() throws {
        let event = try WakeEvent()
        event.wake()
        event.wake()
        event.sleep(milliseconds: nil)
        // Nothing is left of the second: this one ends by its time.
        event.sleep(milliseconds: 1)
        let sleeper = try JoinableThread { event.sleep(milliseconds: nil) }
        event.wake()
        sleeper.join()
    }

    /// A flush is waiting for storage, whose beginning and end are told, and what is in memory is not.
    @Test func devicesSayWhenTheyWait() throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent("volfs-\(UUID().uuidString)").path
        defer { unlink(path) }
        let device = try FileDevice(creating: path, size: 1 << 20)
        let counter = Counter()
        device.waits.tell(counter)
        let buffer = AlignedBuffer(count: 65_536)
        try device.write(UnsafeRawBufferPointer(buffer.bytes), at: 0)
        let before = counter.begun.load(ordering: .relaxed)
        #expect(before == 0)
        try device.flush()
        #expect(counter.begun.load(ordering: .relaxed) == 1 && counter.ended.load(ordering: .relaxed) == 1)
        // Beyond the end there is nothing to wait for, but no bytes either: the end is told after the error too.
        #expect(throws: PoolError.self) { try device.read(into: buffer.bytes, at: 1 << 20) }
        let told = counter.begun.load(ordering: .relaxed)
        #expect(told == counter.ended.load(ordering: .relaxed) && told == 2)
        // Whoever does not want to know is not told of reads.
        counter.wants.store(false, ordering: .relaxed)
        #expect(throws: PoolError.self) { try device.read(into: buffer.bytes, at: 1 << 20) }
        #expect(counter.begun.load(ordering: .relaxed) == told)
    }
}
