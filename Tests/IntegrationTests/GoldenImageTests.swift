internal import Foundation
internal import TestSupport
import Testing

/// Golden images from their making to machines that run from clones of them.
extension IntegrationTests {
    /// A golden image from start to end: a hundred clones, one written to and rolled back, the image and its snapshot
    /// deleted while they live, and each clone's contents looked at afterwards.
    @Test func goldenImageFromStartToEnd() throws {
        try scenario(
            """
            cat > contents.py <<'EOF'
            # Of each file one line: a sum over where its data is and what it is.
            import hashlib, os, sys
            for name in sys.argv[1:]:
                f = os.open(name, os.O_RDONLY); h = hashlib.sha1(b"%d" % os.fstat(f).st_size); at = 0
                while True:
                    try: at = os.lseek(f, at, os.SEEK_DATA)
                    except OSError: break
                    end = os.lseek(f, at, os.SEEK_HOLE); h.update(b"%d %d " % (at, end))
                    while at < end: data = os.pread(f, min(1 << 20, end - at), at); h.update(data); at += len(data)
                os.close(f); print(h.hexdigest())
            EOF
            contents() { python3 "$T/contents.py" "$@" | sort -u; }
            pool 4G; truncate -s 10G "$M/golden"; loop=$(losetup -f --show "$M/golden"); mkfs.ext4 -q $loop; mkdir "$T/a"; mount $loop "$T/a"
            head -c 20M /dev/urandom > "$T/a/system"; echo golden > "$T/a/hostname"; umount "$T/a"; losetup -d $loop
            cd "$M"; mkdir .ctl/snap/golden/v1; sum=$(contents golden@v1); sync -f .
            free=$(stat --file-system -c %f .) allocated=$(json allocated)
            # Each is one frame of the journal, which a checkpoint in between would empty.
            state() { echo $(grep -oP '"(checkpoints|journal_used)":\\K[0-9]+' .ctl/stats.json); }
            counted=0 best=0 base=0 whole=0; read -r used_before avail < <(df --block-size=1 --output=used,avail . | tail -1); read -r first used < <(state)
            for ten in $(seq 0 9); do
                read -r checkpoints used < <(state); begin=$(date +%s%N); for i in $(seq $((ten * 10 + 1)) $((ten * 10 + 10))); do ln -s golden@v1 .ctl/clone/vm$i; done
                now=$(($(date +%s%N) - begin)); whole=$((whole + now)); [ $best -gt 0 ] && [ $now -ge $best ] || best=$now
                read -r after frames < <(state); [ $after != $checkpoints ] || { same $((frames - used)) 10 "frames for ten clones"; counted=$((counted + 1)); }
            done
            [ $counted -ge 5 ] || fail "a checkpoint in all but $counted of ten turns"
            # Until a checkpoint stores their names they take nothing.
            if [ $after = $first ]; then same "$(json allocated) $(stat --file-system -c %f .)" "$allocated $free" "space, allocated and as statfs has it, after a hundred clones"; same "$(df --block-size=1 --output=used . | tail -1)" "$used_before" "what df says is used after a hundred clones"
            else [ $(($(json allocated) - allocated)) -lt $((100 * 8192)) ] || fail "a hundred clones take $(($(json allocated) - allocated)) bytes"; fi
            # What is kept back for the checkpoint to come is not available meanwhile.
            [ $((avail - $(df --block-size=1 --output=avail . | tail -1))) -le $((100 * 32768)) ] || fail "df had $avail available, and has $(df --block-size=1 --output=avail . | tail -1)"
            # As quick as a link of the host and its fsync, the best ten of either.
            mkdir "$T/links"
            for ten in $(seq 0 9); do
                begin=$(date +%s%N); for i in $(seq 10); do ln -s golden@v1 "$T/links/$ten$i"; sync "$T/links"; done
                now=$(($(date +%s%N) - begin)); [ $base -gt 0 ] && [ $now -ge $base ] || base=$now
            done
            echo "RESULT a hundred clones $((whole / 1000000)) ms; ten clones $((best / 1000)) us, ten links of the host with fsync $((base / 1000)) us"
            [ $best -le $((3 * base)) ] || fail "ten clones take $best ns, ten links of the host $base ns"
            same "$(ls | grep -c '^vm')" 100; same "$(ls .ctl/clone | wc -l)" 100; same "$(readlink .ctl/clone/vm*  | sort -u)" ../../golden@v1
            # One writes through qemu, one through a loop mount.
            qemu-io -t none -f raw -c 'write -P 0x5a 8G 4M' -c 'write -P 0x5b 100M 1M' vm7 | grep -c wrote > "$T/wrote"; same "$(cat "$T/wrote")" 2
            loop=$(attach --direct-io=on vm1); mount $loop "$T/a"; same "$(cat "$T/a/hostname")" golden; echo vm1 > "$T/a/hostname"; umount "$T/a"; losetup -d $loop
            mkdir .ctl/snap/vm1/before-upgrade; before=$(contents vm1); loop=$(attach --direct-io=on vm1); mount $loop "$T/a"; rm "$T/a/system"; echo broken > "$T/a/hostname"
            fails 1 bash -c 'echo before-upgrade > .ctl/vol/vm1/rollback'; umount "$T/a"; losetup -d $loop
            [ "$(contents vm1)" != "$before" ] || fail "the upgrade changed nothing"
            echo before-upgrade > .ctl/vol/vm1/rollback; same "$(contents vm1)" "$before" "vm1 rolled back"
            rmdir .ctl/snap/golden/v1 && rm golden; freed
            same "$(ls | grep -c golden || true)" 0; [ ! -e .ctl/vol/golden ] && [ ! -L .ctl/clone/vm1 ] || fail "a record of what is gone: $(ls -l .ctl/clone/vm1)"
            cd /; unmount_pool; clean; mount_pool; cd "$M"
            same "$(contents $(ls vm* | grep -vx 'vm[17]\\|vm1@.*'))" "$sum" "ninety-eight clones"; same "$(contents vm1)" "$before" "vm1"
            same "$(head -c 300M vm2 | cksum)" "$(head -c 300M vm100 | cksum)"
            qemu-io -r -f raw -c 'read -P 0x5a 8G 4M' -c 'read -P 0x5b 100M 1M' -c 'read -P 0 9G 1M' vm7 > "$T/io"; ! grep -i 'fail\\|error' "$T/io"
            for i in 1 99; do loop=$(attach vm$i); e2fsck -fn $loop > "$T/fsck" 2>&1 || fail "$(cat "$T/fsck")"; mount $loop "$T/a"; cat "$T/a/hostname" >> "$T/names"; umount "$T/a"; losetup -d $loop; done
            same "$(tr '\\n' ' ' < "$T/names")" "vm1 golden "
            rmdir .ctl/snap/vm1/*; rm vm*; freed; emptied 0; cd /; unmount_pool; clean
            """, tools: ["mkfs.ext4", "e2fsck", "qemu-io", "fsfreeze"])
    }

    /// A virtual machine boots from the boot sector of a clone's file, writes to its disk, trims it and powers off. The
    /// clone then has what the guest wrote, and the image it came from is untouched.
    @Test func virtualMachineBootsFromClone() throws {
        try scenario(
            """
            source "$1/scripts/packages"
            fetch_kernel "$1/.build/test-kernel" > "$T/fetch" 2>&1 || { [ "${CI:-}" != true ] || fail "no kernel to boot: $(cat "$T/fetch")"; echo "RESULT no kernel to boot, skipped"; exit 0; }
            kernel=$1/.build/test-kernel
            cat > init <<'EOF'
            #!/bin/sh
            mount -t proc proc /proc; mount -t devtmpfs dev /dev
            for module in $(cat /modules/order); do insmod /modules/$module; done
            for n in $(seq 200); do [ -b /dev/vda1 ] && break; sleep 0.1; done
            mount -t ext4 /dev/vda1 /disk && cat /disk/greeting > /dev/console
            echo "written by the guest: $(uname -r)" > /disk/from-guest; dd if=/dev/urandom of=/disk/random bs=1M count=4 2>/dev/null; sha1sum < /disk/random > /disk/random.sum
            rm /disk/ballast; sync; fstrim -v /disk > /disk/trimmed 2>&1; umount /disk && echo GUEST-IS-DONE > /dev/console
            poweroff -f
            EOF
            python3 - "$kernel" "$(command -v busybox)" <<'EOF'
            # The initial file system, a cpio archive: busybox, the modules a virtio disk needs, and init.
            import glob, os, subprocess, sys
            kernel, busybox = sys.argv[1:]
            files, links = {"init": open("init", "rb").read(), "bin/busybox": open(busybox, "rb").read()}, {}
            order = []
            for name in "virtio_ring", "virtio", "virtio_pci_legacy_dev", "virtio_pci_modern_dev", "virtio_pci", "virtio_blk":
                for path in glob.glob(kernel + "/lib/modules/*/kernel/**/%s.ko" % name, recursive=True):
                    files["modules/%s.ko" % name] = open(path, "rb").read(); order.append(name + ".ko")
            files["modules/order"] = "\\n".join(order).encode()
            for applet in "sh mount umount insmod cat seq sleep uname dd sha1sum rm sync fstrim poweroff".split(): links["bin/" + applet] = "busybox"
            def entry(name, mode, data):
                head = "070701" + "".join("%08x" % n for n in (abs(hash(name)) % 1000000, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name) + 1, 0))
                head = head.encode() + name.encode() + b"\\0"
                return head + bytes(-len(head) % 4) + data + bytes(-len(data) % 4)
            with open("initrd", "wb") as out:
                for directory in "bin", "dev", "proc", "disk", "modules": out.write(entry(directory, 0o40755, b""))
                for name, data in files.items(): out.write(entry(name, 0o100755, data))
                for name, target in links.items(): out.write(entry(name, 0o120777, target.encode()))
                out.write(entry("TRAILER!!!", 0, b""))
            EOF
            # A kernel without partition tables of its own is told of them.
            partitions() { [ -b $1p1 ] || partx --add $1; for _ in $(seq 50); do [ -b $1p1 ] && return; sleep 0.1; done; fail "$1 shows no partition"; }
            pool 2G; cd "$M"; truncate -s 1G golden; echo 'start=2048, type=83, bootable' | sfdisk -q golden
            dd if=/usr/lib/EXTLINUX/mbr.bin of=golden bs=440 count=1 conv=notrunc status=none
            loop=$(attach -P --direct-io=on golden); partitions $loop
            mkfs.ext4 -q -O ^64bit,^metadata_csum ${loop}p1; mkdir "$T/a" "$T/a.new"; mount ${loop}p1 "$T/a"; extlinux --install "$T/a" 2> "$T/extlinux" || fail "$(cat "$T/extlinux")"
            cp "$kernel"/boot/vmlinuz-* "$T/a/kernel"; cp "$T/initrd" "$T/a/initrd"; echo "hello from the image" > "$T/a/greeting"; head -c 100M /dev/urandom > "$T/a/ballast"
            printf 'SERIAL 0\\nDEFAULT volfs\\nPROMPT 0\\nLABEL volfs\\n LINUX kernel\\n INITRD initrd\\n APPEND console=ttyS0 panic=-1 quiet\\n' > "$T/a/extlinux.conf"
            umount "$T/a"; losetup -d $loop; mkdir .ctl/snap/golden/v1; sum=$(cksum < golden); ln -s golden@v1 .ctl/clone/vm1
            before=$(stat -c %b vm1); begin=$(date +%s)
            timeout 180 qemu-system-x86_64 -accel tcg -m 256 -nodefaults -display none -no-reboot -serial stdio \\
                -drive file="$M/vm1",format=raw,if=virtio,cache=none,aio=native,discard=unmap < /dev/null > "$T/console" 2>&1 || fail "exit $?: $(tail -c 1500 "$T/console")"
            grep -q GUEST-IS-DONE "$T/console" || fail "the guest did not finish: $(tail -c 1500 "$T/console")"; grep -q 'hello from the image' "$T/console"
            echo "RESULT a guest booted from a clone, wrote and powered off in $(($(date +%s) - begin)) s"
            [ $(stat -c %b vm1) -lt $((before - 80 * 2048)) ] || fail "the guest's trim freed nothing: $before, now $(stat -c %b vm1)"
            loop=$(attach -P vm1); partitions $loop
            e2fsck -fn ${loop}p1 > "$T/fsck" 2>&1 || fail "$(cat "$T/fsck")"; mount -o ro ${loop}p1 "$T/a"
            grep -q 'written by the guest: 6' "$T/a/from-guest" || fail "$(ls -l "$T/a")"; same "$(sha1sum < "$T/a/random")" "$(cat "$T/a/random.sum")" "what the guest wrote"; [ ! -e "$T/a/ballast" ]
            umount "$T/a"; losetup -d $loop
            same "$(cksum < golden)" "$sum" "the golden image"; same "$(cksum < golden@v1)" "$sum" "its snapshot"; cd /; unmount_pool; clean
            """, [Scenario.root.path], tools: ["qemu-system-x86_64", "sfdisk", "partx", "mkfs.ext4", "e2fsck", "extlinux", "busybox", "dpkg-deb"], seconds: 300)
    }
}
