/// Sizes as people type and read them.
package enum Size {
    /// Bytes of `text`: a number, or one with K M G T P, KiB … (powers of 1024) or KB MB … (powers of 1000), in large or small
    /// letters; with a decimal point where whole bytes come out, as of `1.5G`. Nil for anything else.
    package static func parse(_ text: String) -> UInt64? {
        guard case .bytes(let size) = read(text) else { return nil }
        return size
    }

    /// What is wrong with `text`, which is none.
    package static func complaint(_ text: String, example: String = "500M, 64G or 2T") -> String {
        if case .fraction = read(text) { return "comes out as no whole number of bytes; write it without a decimal point, in a smaller unit" }
        return "not a size; write it as \(example)"
    }

    private enum Reading { case bytes(UInt64), fraction, nothing }

    private static func read(_ text: String) -> Reading {
        let digits = text.prefix { $0.isASCII && $0.isNumber }
        guard let number = UInt64(digits) else { return .nothing }
        var suffix = text.dropFirst(digits.count), decimals = suffix.prefix(0)
        if suffix.first == "." {
            decimals = suffix.dropFirst().prefix { $0.isASCII && $0.isNumber }
            suffix = suffix.dropFirst(decimals.count + 1)
            guard !decimals.isEmpty else { return .nothing }
        }
        if suffix.isEmpty { return decimals.isEmpty ? .bytes(number) : .fraction }
        guard let letter = suffix.first?.uppercased().first, let power = "KMGTP".firstIndex(of: letter) else { return .nothing }
        let exponent = "KMGTP".distance(from: "KMGTP".startIndex, to: power) + 1
        let base: UInt64
        switch suffix.dropFirst().lowercased() {
        case "", "ib": base = 1024
        case "b": base = 1000
        default: return .nothing
        }
        // More decimals than these would not come out as whole bytes.
        guard decimals.count <= 18 else { return .fraction }
        var unit: UInt64 = 1
        for _ in 0..<exponent { unit *= base }
        let (whole, overflow) = number.multipliedReportingOverflow(by: unit)
        guard let part = part(decimals, of: unit) else { return .fraction }
        let (sum, isTooMuch) = whole.addingReportingOverflow(part)
        return overflow || isTooMuch ? .nothing : .bytes(sum)
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
