internal import Glibc

/// `volfs import`: a volume from a raw image, a block device or standard input.
enum ImportCommand {
    static func run(_ arguments: Arguments) throws(Failure) -> Int32 {
        let source = arguments.operands[1], name = arguments.operands[2]
        try NameRule.checkVolume(name)
        if let format = arguments["format"], format != "raw" {
            throw .usage("--format \(format)", "only raw images can be read; convert it: qemu-img convert -O raw \(source) FILE")
        }
        var expected: UInt64?
        if let text = arguments["size"] {
            expected = Size.parse(text)
            if expected == nil { throw .usage("--size \(text)", Size.complaint(text)) }
        }
        let progress = Progress("import", try Progress.mode(arguments))
        let input = try open(source, name)
        if arguments["format"] == nil, let format = try ImageFormat(of: input) {
            throw Failure(.corrupt, source, "is \(format.text), not raw; \(format.remedy(source, pool: arguments.operands[0], name: name)), or take it as it is with --format raw")
        }
        let pool = try access(toPool: arguments.operands[0], writing: true)
        let volume = NewVolume(pool: pool, poolOperand: arguments.operands[0], name: name, way: "import", expected: expected)
        try volume.fill(from: input, source: source, progress)
        return try ChangeReport.finish(pool, arguments, changed: [name])
    }

    private static func open(_ source: String, _ name: String) throws(Failure) -> any ByteStream {
        if source == "-" {
            if isatty(0) == 1 { throw .usage("-", "the terminal has no image; redirect it") }
            return PipeStream(0, name: "standard input")
        }
        var status = stat()
        guard stat(source, &status) == 0 else {
            let number = errno
            if number == ENOENT && Glibc.access(name, F_OK) == 0 {
                throw Failure(.notFound, source, "no such file; the file comes before the name, \(name) \(source)", errno: number)
            }
            throw Failure(errno: number, object: source, reason: number == ENOENT ? "no such file" : String(cString: strerror(number)))
        }
        switch status.st_mode & S_IFMT {
        case S_IFDIR: throw Failure(.failed, source, "is a directory; name an image", errno: EISDIR)
        case S_IFREG, S_IFBLK: return try FileStream(source, flags: O_RDONLY)
        default:
            let descriptor = Glibc.open(source, O_RDONLY | O_CLOEXEC)
            guard descriptor >= 0 else { throw Failure(errno: errno, object: source, reason: String(cString: strerror(errno))) }
            return PipeStream(descriptor, name: source)
        }
    }
}
