internal import PoolEngine
internal import TestSupport
import Testing

@Suite struct SparseBitmapTests {
    /// Against a plain array of booleans, over page and word limits, growing once in between.
    @Test(arguments: 0..<8 as Range<UInt64>)
    func agreesWithAnArray(seed: UInt64) {
        var random = SeededRandom(seed: seed)
        var count = 9000
        var bitmap = SparseBitmap(count: count)
        var model = [Bool](repeating: false, count: count)
        for step in 0..<4000 {
            if step == 2000 {
                model += [Bool](repeating: false, count: 5000)
                count += 5000
                bitmap.grow(to: count)
            }
            let first = Int(random.next() % UInt64(count)), length = min(count - first, Int(random.next() % 200) + 1)
            let range = first..<first + length, isClear = !model[range].contains(true), isSet = !model[range].contains(false)
            #expect(bitmap.isClear(first, length) == isClear && bitmap.isSet(first, length) == isSet)
            let run = model[range].prefix { !$0 }.count
            #expect(bitmap.clearCount(from: first, limit: length) == run)
            #expect(bitmap.firstClear(from: first, to: first + length) == model[range].firstIndex(of: false))
            if isClear {
                bitmap.set(first, length)
                for index in range { model[index] = true }
            } else if isSet {
                bitmap.clear(first, length)
                for index in range { model[index] = false }
            } else if run > 0 {
                bitmap.set(first, run)
                for index in first..<first + run { model[index] = true }
            } else {
                let ones = model[range].prefix { $0 }.count
                bitmap.clear(first, ones)
                for index in first..<first + ones { model[index] = false }
            }
        }
        for index in 0..<count { #expect(bitmap.isSet(index) == model[index]) }
    }

    @Test func refusesToClearTwice() async {
        await #expect(processExitsWith: .failure) {
            var bitmap = SparseBitmap(count: 100)
            bitmap.set(3, 70)
            bitmap.clear(3, 70)
            bitmap.clear(72, 1)
        }
    }

    @Test func refusesToSetTwice() async {
        await #expect(processExitsWith: .failure) {
            var bitmap = SparseBitmap(count: 100)
            bitmap.set(3, 70)
            bitmap.set(72, 2)
        }
    }
}
