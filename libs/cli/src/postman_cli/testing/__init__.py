# SPDX-License-Identifier: Apache-2.0
"""`postman test`: the steps, what runs beside what, and the verdict."""
