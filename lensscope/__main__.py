from lensscope.cli import main

main()
