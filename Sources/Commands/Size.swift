/// Sizes as people type and read them.
package enum Size {
    /// Bytes of `text`: a number, or one with K M G T P, KiB … (powers of 1024) or KB MB … (powers of 1000), the first letter
    /// also a small one; with a decimal point where whole bytes come out, as of `1.5G`. Nil for anything else.
    package static func parse(_ text: String) -> UInt64? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard let number = UInt64(digits) else { return nil }
        var suffix = text.dropFirst(digits.count), decimals = suffix.prefix(0)
        if suffix.first == "." {
            decimals = suffix.dropFirst().prefix { $0.isASCII && $0.isNumber }
            suffix = suffix.dropFirst(decimals.count + 1)
            // More than these would not come out as whole bytes.
            guard (1...18).contains(decimals.count), !suffix.isEmpty else { return nil }
        }
        if suffix.isEmpty { return number }
        guard let letter = suffix.first?.uppercased().first, let power = "KMGTP".firstIndex(of: letter) else { return nil }
        let exponent = "KMGTP".distance(from: "KMGTP".startIndex, to: power) + 1
        let base: UInt64
        switch suffix.dropFirst() {
        case "", "iB": base = 1024
        case "B": base = 1000
        default: return nil
        }
        var unit: UInt64 = 1
        for _ in 0..<exponent { unit *= base }
        let (whole, overflow) = number.multipliedReportingOverflow(by: unit)
        guard !overflow, let part = part(decimals, of: unit) else { return nil }
        let (sum, isTooMuch) = whole.addingReportingOverflow(part)
        return isTooMuch ? nil : sum
    }

    /// So many decimal parts of `unit`, if that is a whole number.
    private static func part(_ decimals: Substring, of unit: UInt64) -> UInt64? {
        if decimals.isEmpty { return 0 }
        guard let number = UInt64(decimals) else { return nil }
        let parts = decimals.reduce(1 as UInt64) { product, _ in product * 10 }
        let (high, low) = number.multipliedFullWidth(by: unit)
        let (quotient, remainder) = parts.dividingFullWidth((high, low))
        return remainder == 0 ? quotient : nil
    }
}
