/// Groups have names only. Their inodes need numbers, which are made from the name, so that they are mostly the same after a
/// remount too.
struct GroupTable {
    /// The group that every volume is in.
    static let all: UInt64 = 1
    /// What can be made without having members, so that nobody fills the memory with it.
    static let limit = 1000

    private var numbers: [String: UInt64] = ["all": GroupTable.all]
    private var names: [UInt64: String] = [GroupTable.all: "all"]
    /// Groups that are there although they have no members: made by mkdir, or left by the last.
    var kept: Set<String> = []

    func name(_ number: UInt64) -> String? { names[number] }

    /// FNV-1a in 28 bits, and the next free number if another group has that.
    mutating func number(of name: String) -> UInt64 {
        if let known = numbers[name] { return known }
        let hash = name.utf8.reduce(0x811c_9dc5 as UInt32) { ($0 ^ UInt32($1)) &* 0x0100_0193 }
        var number = UInt64(hash & 0x0fff_ffff)
        while number <= Self.all || names[number] != nil { number = (number + 1) & 0x0fff_ffff }
        numbers[name] = number
        names[number] = name
        return number
    }
}
