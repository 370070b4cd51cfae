/// Numbers as people read them, the same in control files and commands.
package enum Wording {
    /// Bytes with one decimal and an IEC unit: `1.5 GiB`.
    package static func size(_ bytes: UInt64) -> String {
        var value = Double(bytes), unit = 0
        let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
        while value >= 1024 && unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        if unit == 0 { return "\(bytes) B" }
        let tenths = UInt64((value * 10).rounded())
        return "\(tenths / 10).\(tenths % 10) \(units[unit])"
    }

    /// The same, and the bytes behind it where the decimal is not all of it: for what a change has made, or would.
    package static func exactSize(_ bytes: UInt64) -> String {
        let text = size(bytes)
        var unit: UInt64 = 1
        while bytes / unit >= 1024 { unit *= 1024 }
        let isExact = bytes.multipliedReportingOverflow(by: 10).overflow ? bytes % unit == 0 : bytes * 10 % unit == 0
        return isExact ? text : "\(text) (\(bytes) bytes)"
    }

    /// `1 snapshot`, `2 snapshots`.
    package static func count(_ number: some BinaryInteger, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }

    /// What `time` has made of them; nil for another text.
    package static func nanoseconds(_ time: String) -> UInt64? {
        let parts = time.split { "-T:Z".contains($0) }.map { Int($0) }
        guard parts.count == 6, let year = parts[0], let month = parts[1], let day = parts[2], let hour = parts[3], let minute = parts[4], let second = parts[5],
            (1970...9999).contains(year), (1...12).contains(month), (1...31).contains(day), hour < 24, minute < 60, second < 60
        else { return nil }
        // As below, the other way: days_from_civil.
        let shifted = month > 2 ? year : year - 1, era = shifted / 400, yearOfEra = shifted - era * 400
        let dayOfYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        let days = era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + dayOfYear - 719_468
        return UInt64(((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000_000
    }

    /// Nanoseconds since 1970 as RFC 3339, UTC, whole seconds.
    package static func time(_ nanoseconds: UInt64) -> String {
        let seconds = Int(nanoseconds / 1_000_000_000)
        let days = seconds / 86_400, rest = seconds % 86_400
        // Days since 1970 to a date (H. Hinnant, "chrono-Compatible Low-Level Date Algorithms", civil_from_days).
        let z = days + 719_468
        let era = z / 146_097, dayOfEra = z % 146_097
        let yearOfEra = (dayOfEra - dayOfEra / 1460 + dayOfEra / 36_524 - dayOfEra / 146_096) / 365
        let dayOfYear = dayOfEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let month = (5 * dayOfYear + 2) / 153
        let day = dayOfYear - (153 * month + 2) / 5 + 1
        let calendarMonth = month < 10 ? month + 3 : month - 9
        let year = yearOfEra + era * 400 + (calendarMonth <= 2 ? 1 : 0)
        func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(year)-\(two(calendarMonth))-\(two(day))T\(two(rest / 3600)):\(two(rest / 60 % 60)):\(two(rest % 60))Z"
    }
}
