internal import BlockStorage
internal import Commands
internal import Glibc
import Testing

@Suite struct FailureTests {
    /// Every case of PoolError, with its exit status and what its message must name: the thing, and the remedy.
    @Test(arguments: [
        (.outOfSpace(needed: 8192, free: 4096), .noSpace, "8.0 KiB needed, 4.0 KiB free; destroy snapshots or volumes, trim, or make it larger: volfs grow /p +SIZE"),
        (.outOfRange(offset: 1, count: 2, size: 3), .failed, "beyond its 3 bytes"),
        (.tooLarge(size: 2 << 40, limit: 1 << 40), .failed, "2.0 TiB is more than the largest volume, 1.0 TiB"),
        (.refused(.noNumbersLeft), .noSpace, "as its format can number; copy what it has into a new pool: volfs copy"),
        (.invalid(.name), .usage, "beginning with a letter or digit (a snapshot's also with _)"), (.invalid(.nameTooLong), .usage, "127 bytes"),
        (.invalid(.size), .usage, "--size 8M"), (.invalid(.geometry), .failed, "not allowed"),
        (.invalid(.destination), .failed, "not allowed"), (.invalid(.value), .failed, "not allowed"),
        (.notFound, .notFound, "no such volume or snapshot; see: volfs list /p"), (.exists, .exists, "exists already; choose"),
        (.hasSnapshots(count: 3), .busy, "has 3 snapshots; destroy them first"), (.inUse, .busy, "is open; close"),
        (.readOnly, .permission, "read-only; clone it"), (.notPermitted, .permission, "volfs-ctl(7)"),
        (.notSupported, .failed, "not supported"), (.outOfMemory(limit: 32 << 20), .failed, "32.0 MiB"), (.suspended, .corrupt, "mount it again"),
        (.locked(process: 5_000_000), .busy, "in use by process 5000000; end that first"), (.locked(process: 0), .busy, "another process"),
        (.notAPool, .corrupt, "not a volfs pool; name a pool's file"),
        (.unsupportedFormat(version: 2, features: 1), .corrupt, "pool of format 2"),
        (.truncated(size: 5, expected: 9), .corrupt, "has 5 bytes, the pool needs 9; restore"),
        (.corrupt(.node, position: 77, .checksum), .corrupt, "damaged node at byte 77 (checksum); see what a repair would do: volfs repair -n /p"),
        (.corrupt(.superblock, position: 0, .missing), .corrupt, "no superblock is left, as if its beginning had been overwritten; see what a search finds: volfs repair -n /p"),
        (.corrupt(.data, position: 77, .checksum), .corrupt, "damaged data at byte 77 of the pool's file (checksum); all ranges that are lost: volfs scrub /p"),
        (.system(.pwrite, errno: 28), .noSpace, "has no room left; make some"),
        (.system(.open, errno: 2), .notFound, "no such file; make a pool"),
        (.system(.open, errno: 21), .failed, "is a directory; a pool is one file"),
        (.system(.open, errno: 13), .permission, "permission denied; run as"),
        (.system(.open, errno: 30), .permission, "the filesystem that it is on is read-only; mount the pool with -o ro"),
        (.system(.open, errno: 1), .permission, "not permitted; the file may be immutable: lsattr"), (.system(.ftruncate, errno: 27), .failed, "takes no file of that size"),
        (.hasSnapshots(count: 1), .busy, "has 1 snapshot;"), (.system(.mount, errno: 19), .unreachable, "/dev/fuse"), (.system(.fdatasync, errno: 5), .corrupt, "fdatasync"),
    ] as [(PoolError, Failure.Status, String)])
    func poolErrors(error: PoolError, status: Failure.Status, text: String) {
        let failure = Failure(error, object: "thing", pool: "/p")
        #expect(failure.status == status)
        #expect(failure.errno == error.errno)
        #expect(failure.text.hasPrefix("volfs: thing: ") && failure.text.contains(text))
        #expect(!failure.text.contains("\n"))
    }

    @Test func jsonNamesErrnoAndHint() {
        let failure = Failure(.locked(process: 5_000_000), object: "/p", pool: "/p")
        let expected =
            #"{"schema":"volfs.error/1","errno":"EBUSY","code":6,"object":"/p","property":null,"message":"in use by process 5000000","#
            + #""hint":"end that first"}"#
        #expect(failure.json == expected)
        #expect(failure.of(property: "quota").json.contains(#""object":"/p","property":"quota","#))
        #expect(Failure.usage("-x", "no such option").json.contains(#""errno":null,"code":2"#))
        #expect(Failure.usage("-x", "no such option").json.hasSuffix(#""message":"no such option","hint":null}"#))
    }

    /// Every number of Linux has its name, which is none of its neighbours'.
    @Test func errnosByName() throws {
        func name(_ number: Int32) -> String {
            let json = Failure(.failed, "v", "text", errno: number).json
            return json.firstRange(of: #""errno":""#).map { String(json[$0.upperBound...].prefix { $0 != "\"" }) } ?? ""
        }
        let known: [(Int32, String)] = [
            (EPERM, "EPERM"), (EAGAIN, "EAGAIN"), (ERANGE, "ERANGE"), (EDEADLK, "EDEADLK"), (ELOOP, "ELOOP"), (ENOMSG, "ENOMSG"), (EBADE, "EBADE"),
            (EBFONT, "EBFONT"), (EOVERFLOW, "EOVERFLOW"), (EOPNOTSUPP, "EOPNOTSUPP"), (EADDRINUSE, "EADDRINUSE"), (ECONNRESET, "ECONNRESET"), (ETIMEDOUT, "ETIMEDOUT"),
            (ECONNREFUSED, "ECONNREFUSED"), (EHOSTUNREACH, "EHOSTUNREACH"), (ESTALE, "ESTALE"), (EMEDIUMTYPE, "EMEDIUMTYPE"), (ECANCELED, "ECANCELED"), (EHWPOISON, "EHWPOISON"),
        ]
        for (number, text) in known { #expect(name(number) == text) }
        let all = (1...133 as ClosedRange<Int32>).filter { $0 != 41 && $0 != 58 }.map(name)
        #expect(all.allSatisfy { $0.hasPrefix("E") } && Set(all).count == all.count)
        #expect(name(41) == "41" && name(134) == "134" && Failure(.failed, "v", "text").json(code: 32).contains(#""errno":null,"code":32"#))
    }

    /// What the kernel refuses without asking the daemon is still said with a remedy.
    @Test(arguments: [(2, "volfs list"), (13, "run as"), (17, "choose another name"), (30, "cloned"), (107, "volfs umount")] as [(Int32, String)])
    func refusalsOfTheKernel(number: Int32, text: String) {
        #expect(Failure(errno: number, object: "v", reason: nil).message.contains(text))
        #expect(Failure(errno: number, object: "v", reason: "because").message == "because")
    }
}
