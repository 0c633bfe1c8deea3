# SPDX-License-Identifier: Apache-2.0
"""Sets a checkout up: distribution packages, the virtual environment, the C build. Standard library only."""
