internal import CLinux

/// The words this program was started with.
public enum ProgramArguments {
    /// Its name first. Any thread may call. Swift's own are read from /proc, which is not everywhere.
    public static var all: [String] {
        var words: [String] = []
        while let word = volfs_argument(Int32(words.count)) { words.append(String(cString: word)) }
        return words
    }
}
