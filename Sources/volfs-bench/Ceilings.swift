/// What a request may cost. These numbers may only fall: a change that makes one rise has to win it back.
extension Workload {
    struct Ceiling {
        /// On average: arrays that grow now and then make a fraction.
        var allocations: Double
        /// Calls of the device, each of which is a system call where that is a file.
        var calls: Double
        /// As valgrind counts them, with one part in twenty for other compilers; nil where it would take too long.
        var instructions: Double?
    }

    var ceiling: Ceiling {
        switch self {
        case .read: Ceiling(allocations: 0, calls: 1, instructions: 3200)
        case .write: Ceiling(allocations: 0.1, calls: 2, instructions: 17_400)
        case .synced: Ceiling(allocations: 0.1, calls: 3, instructions: 20_600)
        case .largeRead: Ceiling(allocations: 1, calls: 1, instructions: nil)
        case .largeWrite: Ceiling(allocations: 0.3, calls: 2, instructions: nil)
        case .together: Ceiling(allocations: 0.5, calls: 0.14, instructions: 12_700)
        }
    }
}
