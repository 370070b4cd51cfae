/// Sizes as people type and read them.
package enum Size {
    /// Bytes of `text`: a number, or one with K M G T P, KiB … (powers of 1024) or KB MB … (powers of 1000), the first letter
    /// also a small one. Nil for anything else.
    package static func parse(_ text: String) -> UInt64? {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard let number = UInt64(digits) else { return nil }
        let suffix = text.dropFirst(digits.count)
        if suffix.isEmpty { return number }
        guard let letter = suffix.first?.uppercased().first, let power = "KMGTP".firstIndex(of: letter) else { return nil }
        let exponent = "KMGTP".distance(from: "KMGTP".startIndex, to: power) + 1
        let base: UInt64
        switch suffix.dropFirst() {
        case "", "iB": base = 1024
        case "B": base = 1000
        default: return nil
        }
        var result = number
        for _ in 0..<exponent {
            let (product, overflow) = result.multipliedReportingOverflow(by: base)
            if overflow { return nil }
            result = product
        }
        return result
    }
}
