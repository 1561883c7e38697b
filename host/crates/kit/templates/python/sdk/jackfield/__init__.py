"""Write Jackfield plugins in Python. Each kind has its module: `jackfield.router`, `jackfield.treatment`,
`jackfield.observer`, `jackfield.connector`; `jackfield.harness` is for unit tests, which run without a host.
"""
