internal import FuseFrontEnd
internal import Glibc
internal import LinuxIO

extension KeptMount {
    /// What another daemon has left to this one. A failure says why it cannot be taken over, and leaves it as it is.
    static func left(in store: DescriptorStore) throws(Failure) -> KeptMount? {
        let problem: String
        do throws(KeptMount.Obstacle) {
            return try KeptMount(store)
        } catch {
            problem = switch error {
            case .incomplete: "is not complete"
            case .record(.magic): "was not left by volfs"
            case .record(.version(let version)): "was left by another volfs (version \(version)), which can go on with it"
            case .record(.checksum), .record(.contents): "is damaged"
            }
        }
        throw Failure(
            .failed, "the mount that the service manager kept",
            "what is known of it \(problem), so it cannot go on; stop the service, which ends the mount, and start it again", errno: EIO)
    }
}
