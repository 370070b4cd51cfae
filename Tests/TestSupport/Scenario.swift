package import Foundation

/// A scenario of shell commands against a real mount, run in a process of its own with a deadline: the test process
/// never touches a mount itself, for a hung one could not be left.
package struct Scenario {
    package struct Result: Sendable {
        package var status: Int32
        package var output: String
    }

    /// Directory of the package.
    package static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent()

    /// The built program: VOLFS_BINARY, or the release build beside the tests.
    package static let binary: String = {
        ProcessInfo.processInfo.environment["VOLFS_BINARY"] ?? root.appendingPathComponent(".build/release/volfs").path
    }()

    package static let isCI = ProcessInfo.processInfo.environment["CI"] == "true"

    /// Tools of `names` that this machine does not have, and what root and FUSE need if they are missing.
    package static func missing(_ names: [String], needsRoot: Bool = true) -> [String] {
        var missing = names.filter { name in
            !["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/bin"].contains {
                FileManager.default.isExecutableFile(atPath: "\($0)/\(name)")
            }
        }
        if !FileManager.default.fileExists(atPath: "/dev/fuse") { missing.append("/dev/fuse") }
        if needsRoot && getuid() != 0 { missing.append("root") }
        return missing
    }

    /// What every scenario can use: `$V` the program, `$T` a fresh directory, `$M` a mountpoint in it; `pool SIZE`,
    /// `mount_pool`, `unmount_pool`, `attach`, `json FIELD`, `ended PROCESS`, `fails STATUS COMMAND…`. Whatever it mounted and attached
    /// is undone however it ends.
    private static let prelude = """
        set -euo pipefail
        export LC_ALL=C PATH=$PATH:/usr/sbin:/sbin
        T=$(mktemp --directory --tmpdir="${TMPDIR:-/var/tmp}" volfs-test.XXXXXX); M=$T/mnt; P=$T/data.pool
        mkdir "$M"; cd "$T"
        loops=()
        cleanup() {
            status=$?
            set +e
            cd /
            [ $status -eq 0 ] || { echo "--- scenario failed with $status"; timeout 5 cat "$M/.ctl/errors" 2>/dev/null | tail -5; }
            for dir in $(awk -v t="$T/" 'index($2, t) == 1 { print $2 }' /proc/mounts | sort -r); do
                [ "$dir" = "$M" ] || timeout 20 umount "$dir" || umount -l "$dir"
            done
            # Also those on one another.
            for loop in $(losetup --noheadings --output NAME,BACK-FILE | awk -v t="$T/" '{ on[$1] = $2 } END { for (loop in on) { file = on[loop]; while (file in on) file = on[file]; if (index(file, t) == 1) print loop } }'); do losetup -d "$loop"; done
            for child in $(jobs -p); do kill "$child" 2>/dev/null; done
            grep -q " $M fuse" /proc/mounts && { timeout 60 "$V" umount "$M" >/dev/null 2>&1 || umount -l "$M"; }
            rm -rf "$T"
            exit $status
        }
        trap cleanup EXIT
        pool() { "$V" create "$P" --size "$1"; mount_pool; }
        mount_pool() { "$V" "$P" "$M" "$@"; }
        unmount_pool() { "$V" umount "$M"; }
        attach() { losetup --find --show "$@"; }
        json() { grep -oP '"'"$1"'":\\K[0-9]+' "$M/.ctl/stats.json"; }
        daemon() { json pid; }
        # A process that ended counts as ended, although nobody has asked for its status yet.
        running() { grep -qs '^State:.[^XZ]' /proc/"$1"/task/*/status; }
        ended() { for _ in $(seq 1000); do running "$1" || return 0; sleep 0.02; done; fail "process $1 does not end"; }
        freed() { for _ in $(seq 600); do [ "$(json hidden)" = "$(json waiting)" ] && return; sleep 0.1; done; echo "still freeing"; return 1; }
        emptied() { for _ in $(seq 600); do [ "$(json allocated)" = "$1" ] && return; sleep 0.1; done; echo "allocated $(json allocated), want $1"; return 1; }
        clean() { "$V" check "$P" | grep '^clean' ; }
        fail() { echo "FAILED: $*"; exit 1; }
        same() { [ "$1" = "$2" ] || fail "${3:-values differ}: '$1' is not '$2'"; }
        fails() { local want=$1 got=0; shift; "$@" >"$T/out" 2>&1 || got=$?; [ "$got" = "$want" ] || fail "exit $got, want $want: $*: $(cat "$T/out")"; }
        says() { grep -qiE -- "$1" "$T/out" || fail "'$(cat "$T/out")' does not say '$1'"; }

        """

    /// Runs `script` with the prelude in front and `arguments` as $1, $2, …
    package static func run(
        _ script: String, _ arguments: [String] = [], seconds: Int = 120
    ) throws -> Result {
        let output = FileManager.default.temporaryDirectory.appendingPathComponent("volfs-scenario-\(UUID().uuidString)")
        _ = FileManager.default.createFile(atPath: output.path, contents: nil)
        defer { try? FileManager.default.removeItem(at: output) }
        let handle = try FileHandle(forWritingTo: output)
        let process = Process()
        // Threads of a test block most signals, and what they start would inherit that and never end when told to.
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        let unblock = "import os, signal, sys; signal.pthread_sigmask(signal.SIG_SETMASK, []); os.execvp(sys.argv[1], sys.argv[1:])"
        process.arguments =
            ["python3", "-c", unblock, "timeout", "--kill-after=30", "\(seconds)", "bash", "-c", prelude + script, "scenario"]
            + arguments
        process.environment = ProcessInfo.processInfo.environment.merging(["V": binary]) { _, new in new }
        process.standardOutput = handle
        process.standardError = handle
        process.standardInput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        try handle.close()
        let text = String(decoding: try Data(contentsOf: output), as: UTF8.self)
        return Result(status: process.terminationStatus, output: text)
    }
}
