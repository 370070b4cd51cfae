/// Clean nodes by address. Versions share them as they share the blocks. Evicts by the clock algorithm (F. Corbató,
/// "A paging experiment with the Multics system", 1968): a node used since the hand last passed is spared once.
struct NodeCache {
    private var nodes: [BlockAddress: Node] = [:]
    private var clock: [BlockAddress] = []
    private var hand = 0
    let capacity: Int

    /// Holds at most `capacity` nodes.
    init(capacity: Int) {
        precondition(capacity > 0, "a tree cannot be walked without memory")
        self.capacity = capacity
    }

    var count: Int { nodes.count }

    /// The node that `pointer` names, if it is here. A node of an earlier life of the same block is not.
    func find(_ pointer: NodePointer) -> Node? {
        guard let node = nodes[pointer.address], node.checksum == pointer.checksum, node.generation == pointer.generation
        else { return nil }
        if !node.isRecent { node.isRecent = true }
        return node
    }

    mutating func insert(_ node: Node) {
        if nodes.updateValue(node, forKey: node.address) == nil {
            clock.append(node.address)
            // Places of removed nodes are given up before they outnumber the others.
            if clock.count > 2 * nodes.count + 64 { (clock, hand) = (Array(nodes.keys), 0) }
        }
        while nodes.count > capacity { evictOne() }
    }

    mutating func remove(_ address: BlockAddress) {
        // Its place in the clock goes when the hand comes by.
        nodes[address] = nil
    }

    private mutating func evictOne() {
        while !clock.isEmpty {
            if hand >= clock.count { hand = 0 }
            let address = clock[hand]
            if let node = nodes[address], node.isRecent {
                node.isRecent = false
                hand += 1
                continue
            }
            let wasPresent = nodes.removeValue(forKey: address) != nil
            clock.swapAt(hand, clock.count - 1)
            clock.removeLast()
            if wasPresent { return }
        }
    }
}
