/// What somebody who mistyped a word meant.
package enum Spelling {
    /// The one of `words` that is the fewest wrong, missing, added or exchanged letters from `word`, the first of several. Nil if
    /// more than one in four of them are.
    package static func nearest(_ word: String, of words: [String]) -> String? {
        let limit = max(1, word.count / 4)
        let near = words.map { (word: $0, distance: distance(Array(word), Array($0))) }.filter { $0.distance <= limit && $0.distance < word.count }
        return near.min { $0.distance < $1.distance }?.word
    }

    /// `did you mean WORD?`, or what else there is to say.
    static func advice(_ word: String, of words: [String], otherwise: String) -> String {
        nearest(word, of: words).map { "did you mean \($0)?" } ?? otherwise
    }

    private static func distance(_ a: [Character], _ b: [Character]) -> Int {
        var rows = [Array(0...b.count)]
        for (i, letter) in a.enumerated() {
            var row = [i + 1]
            for (j, other) in b.enumerated() {
                var least = min(rows[i][j] + (letter == other ? 0 : 1), rows[i][j + 1] + 1, row[j] + 1)
                if i > 0, j > 0, letter == b[j - 1], a[i - 1] == other { least = min(least, rows[i - 1][j - 1] + 1) }
                row.append(least)
            }
            rows.append(row)
        }
        return rows[a.count][b.count]
    }
}
