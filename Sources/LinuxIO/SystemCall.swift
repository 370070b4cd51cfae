internal import BlockStorage
internal import Glibc

/// Repeats `body` after EINTR. errno is read beside the call that set it: anything in between may change it.
func systemCall<T: FixedWidthInteger>(_ call: PoolError.SystemCall, _ body: () -> T) throws(PoolError) -> T {
    while true {
        let result = body()
        if result != -1 { return result }
        if errno != EINTR { throw .system(call, errno: errno) }
    }
}
