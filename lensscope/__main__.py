from lensscope.cli.command import main

main()
