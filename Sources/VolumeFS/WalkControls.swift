internal import BlockStorage
internal import PoolEngine

/// What ends requests that may take long, each by its kind.
struct WalkControls: Sendable {
    /// Figures of what objects take: an answer to a question, of which nothing but time is lost.
    let figures = JobControl()
    /// Differences.
    let texts = JobControl()
    /// The next data or hole.
    let seeks = JobControl()
    let copies = JobControl()
}

extension VolumeFileSystem {
    /// The mount goes to another daemon: nobody shall wait for what takes long. Copies return what they have done, at least one
    /// step. What only reads throws `.refused(.isHandedOver)`: it is asked for again, by the kernel where it `repeats` what has no
    /// answer, else by whoever is told so (EINTR); but lseek(2), which nobody expects that of, is then carried out. Any thread may
    /// call.
    public func beginHandOver(repeats: Bool) {
        walks.copies.cancel()
        walks.texts.cancel()
        walks.figures.cancel()
        if repeats { walks.seeks.cancel() }
    }

    func untilHandedOver<Result>(
        _ control: JobControl, _ body: (JobControl) throws(PoolError) -> Result
    ) throws(PoolError) -> Result {
        do throws(PoolError) {
            return try body(control)
        } catch .cancelled {
            throw .refused(walks.copies.isCancelled ? .isHandedOver : .isStopping)
        }
    }

    func usage(of object: UInt64) throws(PoolError) -> ObjectUsage {
        try untilHandedOver(walks.figures) { control throws(PoolError) in try pool.usage(of: object, control: control) }
    }

    /// Nil where it cannot be told: a node that cannot be read leaves everything else to tell.
    func usageIfKnown(of object: UInt64) throws(PoolError) -> ObjectUsage? {
        do throws(PoolError) {
            return try usage(of: object)
        } catch .refused(let refusal) {
            throw .refused(refusal)
        } catch {
            return nil
        }
    }
}
