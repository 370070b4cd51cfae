/// What a reader of events gets. No bytes are the end.
public enum EventAnswer: Sendable, Equatable {
    case bytes([UInt8])
    /// It did not want to wait.
    case nothing
    case interrupted
}
