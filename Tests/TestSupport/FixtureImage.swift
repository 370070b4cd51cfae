internal import Foundation

/// Disk images kept as text: a line a sector that is not all zero, its number and its 512 bytes in base64.
package enum FixtureImage {
    package static func encode(_ image: [UInt8]) -> String {
        var text = "\(image.count)\n"
        for sector in 0..<image.count / SimulatedDisk.sectorSize {
            let bytes = image[sector * SimulatedDisk.sectorSize..<(sector + 1) * SimulatedDisk.sectorSize]
            if bytes.contains(where: { $0 != 0 }) { text += "\(sector) \(Data(bytes).base64EncodedString())\n" }
        }
        return text
    }

    /// Nil if the text is not one that `encode` made.
    package static func decode(_ text: String) -> [UInt8]? {
        var lines = text.split(separator: "\n").makeIterator()
        guard let size = lines.next().flatMap({ Int($0) }) else { return nil }
        var image = [UInt8](repeating: 0, count: size)
        while let line = lines.next() {
            let words = line.split(separator: " ")
            guard words.count == 2, let sector = Int(words[0]), let bytes = Data(base64Encoded: String(words[1])),
                bytes.count == SimulatedDisk.sectorSize, (sector + 1) * SimulatedDisk.sectorSize <= size
            else { return nil }
            image.replaceSubrange(sector * SimulatedDisk.sectorSize..<(sector + 1) * SimulatedDisk.sectorSize, with: bytes)
        }
        return image
    }
}
