# SPDX-License-Identifier: Apache-2.0
"""`python -m postman_cli`, what ./postman hands over to."""

from postman_cli.main import main

if __name__ == "__main__":
    main()
