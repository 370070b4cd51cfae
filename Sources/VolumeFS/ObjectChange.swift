package import BlockStorage

/// A change of a volume or a snapshot that its properties may refuse: which do, and how that is said. For the file system, which refuses
/// it, and for a command that looks at all of several objects before it changes the first.
package enum ObjectChange: Sendable {
    case destroy, rollback, shrink, grow

    /// Those that may.
    private var properties: [VolumeFileSystem.Settable] {
        switch self {
        case .destroy: [.hold]
        case .rollback, .grow: [.readonly]
        case .shrink: [.readonly, .shrink]
        }
    }

    /// What refuses it, if the object's properties are such. Nil if nothing does.
    func refusal(by limits: VolumeFileSystem.Limits) -> PoolError? {
        switch self {
        case .destroy: limits.isHeld ? .held : nil
        case .rollback, .grow: limits.isReadOnly ? .refused(.volumeIsReadOnly) : nil
        case .shrink: limits.isReadOnly ? .refused(.volumeIsReadOnly) : limits.mayShrink ? nil : .refused(.shrinkIsOff)
        }
    }

    /// The same, and the sentence, for one who can ask for the properties of `object`, `VOL` or `VOL@SNAP`, by their names; "" is one
    /// that is not set.
    package func refusal<Failure: Error>(of object: String, _ property: (String) throws(Failure) -> String) throws(Failure) -> (error: PoolError, sentence: String)? {
        var values: [VolumeFileSystem.Settable: String] = [:]
        for name in properties where object.contains("@") == (name == .hold) { values[name] = try property(name.rawValue) }
        guard let error = refusal(by: VolumeFileSystem.Limits { values[$0] }) else { return nil }
        return (error, Self.sentence(error, of: object, hold: values[.hold] ?? "") ?? reason(for: error))
    }

    /// How that is said of an object, with what to do; nil for what no property refuses. `hold` is the property's value.
    static func sentence(_ error: PoolError, of object: String, hold: String = "") -> String? {
        switch error {
        case .held: held(object, hold)
        case .refused(.volumeIsReadOnly): "the property readonly of \(object) is on; first: echo off > \(propertyPath(object))/readonly"
        case .refused(.shrinkIsOff): "the property shrink of \(object) is off; first: echo on > \(propertyPath(object))/shrink"
        default: nil
        }
    }

    /// The value of a hold for which nobody gave a reason.
    package static let unexplained = "held"

    static func held(_ snapshot: String, _ hold: String, and consequence: String = "") -> String {
        "\(snapshot) is held\(["", unexplained].contains(hold) ? "" : " (\(hold))")\(consequence); release it first: echo > \(propertyPath(snapshot))/hold"
    }

    /// Below the mountpoint.
    static func propertyPath(_ object: String) -> String {
        object.contains("@") ? ".ctl/snap/\(object.replacing("@", with: "/"))/prop" : ".ctl/vol/\(object)/prop"
    }
}
