internal import Foundation
internal import TestSupport
import Testing

/// `scripts/quickstart`, with a `swift` in front of it that has built the program already and says when it was asked to.
extension IntegrationTests {
    /// What is wrong is said before anything is built; a mount whose daemon was killed is made again; one that is there is left alone.
    @Test func quickstartLooksBeforeItBuilds() throws {
        try scenario(
            """
            mkdir bin; printf '#!/bin/sh\\ncase "$*" in *--show-bin-path*) dirname "$V" ;; *) echo >> "%s/built" ;; esac\\n' "$T" > bin/swift; chmod +x bin/swift
            export PATH=$T/bin:$PATH; Q=$1/scripts/quickstart; touch file; mkdir directory
            early() { local says=$1; shift; fails 2 timeout 60 "$Q" "$@"; says "$says"; [ ! -e built ] || fail "built before: $*"; }
            early 'Usage'; early 'Usage' "$P"; early 'Usage' "$P" "$M" 64M more
            early '--force: no such option' --force "$P" "$M"; early '-s: no such option' "$P" "$M" -s; early '64X: not a size; write it as' "$P" "$M" 64X; early 'G: not a size' "$P" "$M" G
            early "$T/none: no such directory; make it first" none/data.pool "$M" 64M; early 'directory: is a directory' directory "$M" 64M; early 'file: is not a directory' "$P" file 64M
            [ ! -e "$P" ]; "$Q" "$P" "$M" 64M > "$T/out" 2>&1; says "^mounted $P at $M"; same "$(wc -l < built)" 1; echo one > "$M/v"; sync -f "$M"
            "$Q" "$P" "$M" > "$T/out" 2>&1; says "is mounted at $M already"; pid=$(daemon); kill -9 $pid; ended $pid; fails 1 stat "$M"; says 'not connected'
            "$Q" "$P" "$M" > "$T/out" 2>&1; says "^mounted $P at $M"; same "$(cat "$M/v")" one; same "$(grep -c " $M fuse" /proc/mounts)" 1
            unmount_pool; clean
            """, [Scenario.root.path])
    }
}
