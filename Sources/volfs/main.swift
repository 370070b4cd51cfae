internal import Commands
internal import Glibc

exit(CommandLineTool.run())
