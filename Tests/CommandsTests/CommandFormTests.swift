internal import Commands
import Testing

/// What the daemon advises in a shell's words, as commands.
@Suite struct CommandFormTests {
    @Test(arguments: [
        ("v@s is held (why); release it first: echo > .ctl/snap/v/s/prop/hold", "v@s is held (why); release it first: volfs release /m v@s"),
        ("the property readonly of v is on; first: echo off > .ctl/vol/v/prop/readonly", "the property readonly of v is on; first: volfs set /m v readonly=off"),
        ("raise it: echo BYTES > .ctl/vol/v/prop/quota, or punch holes", "raise it: volfs set /m v quota=BYTES, or punch holes"),
        ("or make the pool larger: echo BYTES > .ctl/size", "or make the pool larger: volfs grow /m +SIZE"),
        ("remove them first: rmdir .ctl/snap/v/*", "remove them first: volfs list /m -r v tells which"),
        ("remove the snapshot: rmdir .ctl/snap/v/s", "remove the snapshot: volfs destroy /m v@s"), ("see: ls .ctl/vol/v/prop", "see: volfs get /m v"),
        ("there is none; see: ls, and: ls .ctl/snap/v", "there is none; see: volfs list /m, and: volfs list /m -r v"),
        ("clone it and change that: ln -s v@s .ctl/clone/NEW", "clone it and change that: volfs clone /m v@s NEW"),
        ("make it larger: truncate -s SIZE v, or: echo off > .ctl/vol/v/prop/fixed", "make it larger: volfs resize /m v SIZE, or: volfs set /m v fixed=off"),
        ("make it first: truncate -s SIZE v", "make it first: volfs new /m v SIZE"), ("made with: mkdir .ctl/snap/v/SNAP", "made with: volfs snapshot /m v@SNAP"),
        ("rename it with: mv .ctl/snap/v/s .ctl/snap/v/NEW", "rename it with: volfs rename /m v@s v@NEW"), ("or remove it first: rm other", "or remove it first: volfs destroy /m other"),
        ("restore it first: mv .ctl/trash/v NEW", "restore it first: volfs undelete /m v NEW"), ("take it back: mv .ctl/trash/v v", "take it back: volfs undelete /m v"),
        ("the trash holds 5 bytes: rm .ctl/trash/*", "the trash holds 5 bytes: volfs purge /m"), ("if that is wanted: rm .ctl/trash/v~2", "if that is wanted: volfs purge /m v~2"),
        // What no command does begins at the mountpoint; what is no advice stays.
        ("linked with: ln .ctl/trash/v NEW", "linked with: ln /m/.ctl/trash/v NEW"), ("see .ctl/README for what", "see /m/.ctl/README for what"),
        ("held (ls it, then rm it)", "held (ls it, then rm it)"), ("", ""), ("first: echo", "first: echo"), ("first: rm", "first: rm"), ("see: ls", "see: volfs list /m"),
    ])
    func adviceBecomesCommands(reason: String, text: String) { #expect(CommandForm.translated(reason, mountpoint: "/m") == text) }
}
