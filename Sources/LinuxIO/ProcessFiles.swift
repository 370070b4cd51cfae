internal import Glibc

/// What a process has open, from /proc.
public enum ProcessFiles {
    /// True if a descriptor of the process is of a path that ends so. Nothing is asked of the filesystem that the path is in. False
    /// where that cannot be looked at. Any thread may call.
    public static func hasOpen(_ process: Int32, endingIn end: String) -> Bool {
        let path = "/proc/\(process)/fd"
        guard let directory = opendir(path) else { return false }
        defer { closedir(directory) }
        let wanted = Array(end.utf8)
        return withUnsafeTemporaryAllocation(of: CChar.self, capacity: Int(PATH_MAX)) { buffer in
            guard let start = buffer.baseAddress else { return false }
            while let entry = readdir(directory) {
                let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
                let count = readlink("\(path)/\(name)", start, buffer.count)
                if count >= wanted.count, UnsafeRawBufferPointer(buffer)[count - wanted.count..<count].elementsEqual(wanted) { return true }
            }
            return false
        }
    }
}
