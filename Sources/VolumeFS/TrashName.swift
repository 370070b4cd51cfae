/// Names in the trash: the first removed volume of a name has that, later ones `NAME~2` and so on, as far as these are taken.
public enum TrashName {
    /// The entry that was a volume of that name, of several the one that was removed last; nil if there is none. Any thread.
    public static func newest(of volume: String, in entries: [(name: String, removed: UInt64)]) -> String? {
        entries.filter { $0.name == volume || $0.name.hasPrefix(volume + "~") }.max { $0.removed < $1.removed }?.name
    }
}
