/// The rules that keep every byte, by the numbers they have in volfs-pool(5). Tests break one at a time, through
/// `Pool.Configuration.brokenRule`, to see that breaking it is noticed: a rule whose absence no test notices is not kept.
package enum OrderingRule: Int, CaseIterable, Sendable, CustomStringConvertible {
    /// R1. A block's data is with the device before a record that names the block is appended.
    case dataBeforeRecord = 1
    /// R2. Records are in the order in which the maps were changed.
    case recordOrder
    /// R3. A frame that was flushed is never written again.
    case sealedFrames
    /// R4. Nothing counts as durable before the barrier that makes it so has succeeded.
    case durableAfterBarrier
    /// R5. A released block is not used again, or punched, before a checkpoint without it is durable.
    case quarantine
    /// R6. A superblock is written only after a barrier over everything it names.
    case barrierBeforeSuperblock
    /// R7. The tails of journal and space log move only when the superblock that moves them is durable.
    case tailsAfterSuperblock
    /// R8. Of two slots, the one that the durable checkpoint uses is never written.
    case otherSlot
    /// R9. Recovery changes the incarnation before the first new frame, so that frames of an abandoned future never continue
    /// the log, and writes nothing that a second recovery needs.
    case incarnation
    /// R10. Taking the generation, changing the map and taking the LSN are one critical section.
    case oneCriticalSection
    /// R11. A version frees only what it owns, with regard to the reap cursor of its parent.
    case ownership
    /// R12. That there is space for the whole of a request is known before anything of it is done.
    case spaceFirst

    package var description: String { "R\(rawValue)" }
}
