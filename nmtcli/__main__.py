from nmtcli.cli import main

main()
