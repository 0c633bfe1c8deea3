# SPDX-License-Identifier: Apache-2.0
"""What Postman's processes say to each other: subjects, messages, REST bodies, problems, tokens. No I/O here."""
