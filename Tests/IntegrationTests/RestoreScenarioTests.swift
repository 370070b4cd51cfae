internal import TestSupport
import Testing

extension IntegrationTests {
    /// Metadata is restored to where the data is that it tells of, or to where there is nothing; not over what somebody else has there.
    @Test func restoreAsksForTheDataItTellsOf() throws {
        try scenario(
            """
            "$V" create "$P" --size 64M; head -c 20M /dev/urandom > image; "$V" import "$P" image a; "$V" dump "$P" > dump
            # Its beginning is lost, and what its volumes hold may be anything, up to the end.
            cp "$P" lost; dd if=/dev/zero of=lost bs=1M count=2 conv=notrunc status=none; printf tail | dd of=lost bs=1M seek=63 conv=notrunc status=none; "$V" restore lost dump; "$V" export lost a - | cmp - image; P=lost clean
            # Nothing at its beginning, but something behind it, which is no pool's.
            truncate -s 64M other; printf somebody | dd of=other bs=1M seek=63 conv=notrunc status=none; sum=$(cksum < other)
            for flag in '' --json; do fails 2 "$V" restore $flag other dump; says 'what it has is not the data of the pool that dump tells of'; same "$(cksum < other)" "$sum" "written"; done
            "$V" restore --force other dump; P=other clean; truncate -s 64M fresh; "$V" restore fresh dump; P=fresh clean
            truncate -s 64M begun; printf x | dd of=begun bs=1K seek=100 conv=notrunc status=none; sum=$(cksum < begun); fails 2 "$V" restore begun dump; says 'no pool begins there'; same "$(cksum < begun)" "$sum" "written"
            # Of a pool without data there is nothing to be known by.
            "$V" create empty.pool --size 64M; "$V" dump empty.pool > none; fails 2 "$V" restore --json other none; truncate -s 64M tail; printf y | dd of=tail bs=1M seek=63 conv=notrunc status=none; fails 2 "$V" restore tail none; says 'is not the data of the pool'
            # What another pool's volumes hold, between ends that are empty.
            "$V" create second.pool --size 64M; head -c 40M /dev/urandom > large; "$V" import second.pool large b; dd if=/dev/zero of=second.pool bs=1M count=2 conv=notrunc status=none; truncate -s 63M second.pool; truncate -s 64M second.pool
            sum=$(cksum < second.pool); fails 2 "$V" restore second.pool dump; says 'is not the data of the pool that dump tells of'; same "$(cksum < second.pool)" "$sum" "written"
            # Of a device nobody knows whether it is empty.
            truncate -s 64M disk; loop=$(attach disk); fails 2 "$V" restore $loop dump; dd if=lost of=$loop bs=1M skip=2 seek=2 status=none; "$V" restore $loop dump; "$V" export $loop a - | cmp - image; losetup -d $loop
            """)
    }
}
