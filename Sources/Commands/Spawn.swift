internal import Glibc
internal import LinuxIO

/// Other programs.
enum Spawn {
    /// Where a daemon finds the descriptor it is handed.
    static let handedDescriptor: Int32 = 3

    /// POSIX_SPAWN_SETSID, which glibc shows to C alone.
    private static let newSession: Int16 = 0x80

    /// Starts this program again in a session of its own. Besides the standard ones it has one descriptor, `descriptor`
    /// under the number `handedDescriptor`: what else the caller had open, a script's lock for instance, is not kept
    /// open by a daemon. Nil and errno if it cannot be started.
    static func daemon(handing descriptor: Int32) -> pid_t? {
        closeOthersOnExec()
        // By its path where there is one, so that ps shows its name.
        let link = "/proc/self/exe", path = Path.absolute(link)
        let program = access(path, X_OK) == 0 ? path : link
        return run(ProgramArguments.all, newSession, descriptor, as: handedDescriptor) {
            posix_spawn(&$0, program, &$1, &$2, $3, environ)
        }
    }

    private static func closeOthersOnExec() {
        guard let directory = opendir("/proc/self/fd") else { return }
        defer { closedir(directory) }
        while let entry = readdir(directory) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if let number = Int32(name), number > 2 { _ = fcntl(number, F_SETFD, FD_CLOEXEC) }
        }
    }

    /// Starts a program in a process group of its own, with `input` as standard input. Nil and errno if it cannot be started.
    static func start(_ words: [String], input: Int32) -> pid_t? {
        run(words, Int16(POSIX_SPAWN_SETPGROUP), input, as: 0) { posix_spawnp(&$0, words[0], &$1, &$2, $3, environ) }
    }

    /// Runs a program to its end and returns what it has printed, or nil if it cannot be started.
    static func output(of words: [String]) -> String? {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { return nil }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        let child = run(words, 0, ends[1], as: 1) { posix_spawnp(&$0, words[0], &$1, &$2, $3, environ) }
        close(ends[1])
        defer { close(ends[0]) }
        guard let child else { return nil }
        var text: [UInt8] = [], part = [UInt8](repeating: 0, count: 4096)
        while true {
            let count = read(ends[0], &part, part.count)
            if count > 0 { text += part.prefix(count) } else if count == 0 || errno != EINTR { break }
        }
        _ = wait(child)
        return String(decoding: text, as: UTF8.self)
    }

    /// Calls `spawn` for a process that has `descriptor` under another number. Nil and errno if it cannot be started.
    private static func run(
        _ words: [String], _ flags: Int16, _ descriptor: Int32, as number: Int32,
        _ spawn: (
            inout pid_t, inout posix_spawn_file_actions_t, inout posix_spawnattr_t, UnsafePointer<UnsafeMutablePointer<CChar>?>
        ) -> Int32
    ) -> pid_t? {
        var actions = posix_spawn_file_actions_t()
        var attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_adddup2(&actions, descriptor, number)
        posix_spawnattr_setflags(&attributes, flags)
        return withPointers(words) { pointers in
            var child = pid_t()
            errno = spawn(&child, &actions, &attributes, pointers)
            return errno == 0 ? child : nil
        }
    }

    /// Runs a program to its end. Its exit status, or -1.
    static func run(_ words: [String]) -> Int32 {
        let started = withPointers(words) { pointers in
            var child = pid_t()
            return posix_spawnp(&child, words[0], nil, nil, pointers, environ) == 0 ? child : nil
        }
        guard let child = started else { return -1 }
        let status = wait(child)
        return status & 0x7f == 0 ? status >> 8 & 0xff : -1
    }

    /// Waits for a child's end. Its status as wait(2) gives it.
    static func wait(_ child: pid_t) -> Int32 {
        var status: Int32 = 0
        while waitpid(child, &status, 0) == -1 && errno == EINTR {}
        return status
    }

    private static func withPointers(
        _ words: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> pid_t?
    ) -> pid_t? {
        var pointers: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        return pointers.withUnsafeMutableBufferPointer { buffer in
            // Never nil: there is at least the pointer that ends the list.
            body(buffer.baseAddress!)
        }
    }
}
