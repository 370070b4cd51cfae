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
        case .write: Ceiling(allocations: 16.1, calls: 2, instructions: 28_000)
        case .synced: Ceiling(allocations: 16.1, calls: 3, instructions: 29_400)
        case .largeRead: Ceiling(allocations: 1, calls: 1, instructions: nil)
        case .largeWrite: Ceiling(allocations: 21.2, calls: 2, instructions: nil)
        }
    }
}
