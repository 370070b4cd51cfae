internal import Glibc
internal import VolumeFS

/// One mount option as it was given, and where.
package struct MountWord: Sendable {
    package var name: String
    package var value: String?
    /// `FILE:LINE` or the name of an environment variable; nil for the command line.
    package var place: String?

    /// A word of `-o`: `NAME` or `NAME=VALUE`.
    package init(_ text: String, place: String? = nil) {
        let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
        name = parts[0]
        value = parts.count == 2 ? parts[1] : nil
        self.place = place
    }

    /// The words of a list as `-o` has it. A comma behind a backslash or in quotes belongs to a value.
    package static func list(_ text: String) -> [MountWord] {
        var words: [String] = [""]
        var isQuoted = false, isEscaped = false
        for character in text {
            if isEscaped {
                words[words.count - 1].append(character)
                isEscaped = false
            } else if character == "\\" {
                isEscaped = true
            } else if character == "\"" {
                isQuoted.toggle()
            } else if character == "," && !isQuoted {
                words.append("")
            } else {
                words[words.count - 1].append(character)
            }
        }
        return words.filter { !$0.isEmpty }.map { MountWord($0) }
    }

    /// What a message is about.
    package var subject: String {
        let text = value.map { "\(name)=\($0)" } ?? name
        return place.map { "\($0): \(text)" } ?? "-o \(text)"
    }

    package func wrong(_ message: String) -> Failure { .usage(subject, message) }

    func text() throws(Failure) -> String {
        guard let value, !value.isEmpty else { throw wrong("needs a value, as \(name)=VALUE") }
        return value
    }

    /// Bytes, at least `least`.
    func size(least: UInt64) throws(Failure) -> UInt64 {
        guard let size = Size.parse(value ?? ""), size >= least, size <= 1 << 50 else {
            throw wrong("needs a size of \(Wording.size(least)) or more, as 256M")
        }
        return size
    }

    /// The same of memory, of which there is no more than the machine has.
    func memory(least: UInt64) throws(Failure) -> Int {
        let size = try size(least: least), there = UInt64(max(0, sysconf(Int32(_SC_PHYS_PAGES)))) * UInt64(max(0, sysconf(Int32(_SC_PAGESIZE))))
        if there > 0 && size > there { throw wrong("is more than the \(Wording.size(there)) of memory that this machine has; choose a part of that") }
        return Int(size)
    }

    /// `reason` tells why more is not possible.
    func seconds(upTo most: Double, else reason: String) throws(Failure) -> Double {
        guard let seconds = Double(value ?? ""), seconds >= 0, seconds.isFinite else { throw wrong("needs seconds") }
        guard seconds <= most else { throw wrong("is \(Int(most)) at most: \(reason)") }
        return seconds
    }

    func number(_ range: ClosedRange<UInt64>) throws(Failure) -> UInt64 {
        guard let number = UInt64(value ?? ""), range.contains(number) else {
            throw wrong("needs a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    /// Permission bits, octal.
    func mode(_ most: UInt32) throws(Failure) -> UInt32 {
        guard let value, let mode = UInt32(value, radix: 8), mode <= most else {
            throw wrong("needs octal permissions, as \(name)=\(name == "umask" ? "022" : "750")")
        }
        return mode
    }

    /// Seconds. No longer time is taken.
    static let longestTime: UInt64 = 1 << 32

    /// The number of a time that says no unit, if it needs one.
    var bareTime: UInt64? { UInt64(value ?? "").flatMap { $0 > 0 && $0 <= Self.longestTime ? $0 : nil } }

    /// Seconds of a time as 90s, 30m, 24h, 7d or 2w; 0 needs no unit. A bare number could be meant in any.
    func seconds() throws(Failure) -> UInt64 {
        let units: [Character: UInt64] = ["s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800]
        let text = value ?? ""
        let unit = text.last.flatMap { units[$0] }
        guard let number = UInt64(unit == nil ? text : String(text.dropLast())), number <= Self.longestTime else {
            throw wrong("needs a time, as 30m, 24h or 7d")
        }
        if unit == nil && number != 0 { throw wrong("is without a unit; write \(number)d, \(number)h, \(number)m or \(number)s") }
        return number * (unit ?? 1)
    }

    /// A user's or a group's number, by number or name.
    func user() throws(Failure) -> UInt32 {
        if let number = UInt32(value ?? "") { return number }
        guard let found = getpwnam(value ?? "") else { throw wrong("no such user") }
        return found.pointee.pw_uid
    }

    func group() throws(Failure) -> UInt32 {
        if let number = UInt32(value ?? "") { return number }
        guard let found = getgrnam(value ?? "") else { throw wrong("no such group") }
        return found.pointee.gr_gid
    }

    /// Throws unless the value is what `option` takes at all.
    func check(against option: MountOption) throws(Failure) {
        if let choices = option.choices {
            guard let value, choices.contains(value) else { throw wrong("needs one of \(choices.joined(separator: ", "))") }
        }
        if option.value == nil && value != nil { throw wrong("takes no value") }
        if option.value != nil && !option.isValueOptional && value?.isEmpty != false { throw wrong("needs a value, as \(name)=\(option.value ?? "")") }
    }
}
