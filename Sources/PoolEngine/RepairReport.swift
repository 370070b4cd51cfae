public import BlockStorage

/// What repairing a pool found and did.
public struct RepairReport: Sendable {
    public var findings: [Finding] = []
    /// What is gone, by object.
    public var losses: [Loss] = []
    public var checkedNodes = 0
    /// Whether a repaired state was stored: false for a dry run and for a pool that needed nothing.
    public var isRepaired = false

    public var isClean: Bool { findings.isEmpty && losses.isEmpty }
    /// Records of volumes or snapshots cannot be read, and a repaired pool does not have them any more.
    public var losesVolumes: Bool {
        findings.contains { finding in
            switch finding {
            case .lostCatalogNode, .lostVolume, .badRecord: true
            default: false
            }
        }
    }

    public enum Finding: Equatable, Sendable {
        /// One of the copies of the newest superblock.
        case superblockCopy(position: UInt64)
        /// The newest superblock is lost; the one before it was taken, and the journal brought it forward.
        case olderSuperblock(epoch: UInt64, lost: UInt64)
        /// No superblock is left. A search of the whole device found the catalog of that checkpoint; what was written after it, and
        /// is in the journal only, is lost.
        case noSuperblock(epoch: UInt64)
        /// Told again from the pool's geometry.
        case zoneHeader(position: UInt64)
        /// A node was read from its copy.
        case nodeCopy(position: UInt64)
        case lostNode(PoolError)
        case lostCatalogNode(PoolError)
        /// The record of a volume is lost; it is there again under this name, as its youngest snapshot was.
        case lostVolume(String)
        case lostProperties(version: UInt64)
        /// A record that contradicts others: its version is left out.
        case badRecord(version: UInt64)
        /// Which blocks are in use was counted again from the maps, because the stored count could not be read or differs:
        /// so many were counted as in use that are not, and so many the other way round.
        case space(PoolError?, leaked: Int, missing: Int)
        /// So many blocks had another number of references than was counted; they are counted anew.
        case references(blocks: Int)
        /// The journal ends here although there should be more.
        case journal(PoolError)
        /// Below a lost node, nodes were found by searching the whole pool, and put back.
        case foundNodes(count: Int)
        case counter(version: UInt64, stored: UInt64, found: UInt64)
    }

    public struct Loss: Equatable, Sendable {
        /// `VOLUME` or `VOLUME@SNAPSHOT`.
        public var object: String
        /// Bytes that cannot be read any more, until they are overwritten or discarded.
        public var offset: UInt64
        public var count: UInt64
    }
}
