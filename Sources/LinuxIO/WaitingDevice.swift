public import BlockStorage

/// A device that tells when a thread waits for it.
public protocol WaitingDevice: BlockDevice {
    var waits: WaitNotice { get }
}
