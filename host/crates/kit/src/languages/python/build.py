# Run by the kit in the project's folder: KIND OUTPUT. What it says on standard error is for the author.
import ast
import sys
from pathlib import Path


def end(message):
    print(message, file=sys.stderr)
    sys.exit(1)


def read_sources(root):
    """Mistakes in the grammar, in a tenth of a second instead of after ten."""
    skipped = {"build", "dist", "stubs", "wit", "node_modules"}
    for path in sorted(root.rglob("*.py")):
        inside = path.relative_to(root)
        if inside.parts[0] in skipped or inside.parts[0].startswith("."):
            continue
        try:
            ast.parse(path.read_bytes(), str(inside))
        except SyntaxError as error:
            line = (error.text or "").rstrip()
            end(f"{inside}:{error.lineno}:{error.offset}: {error.msg}\n  {line}")
        except ValueError as error:
            end(f"{inside}: {error}")


def import_natively(root):
    """What fails to import here fails in the component too, and here it is said at once."""
    sys.path[:0] = [str(root), str(root / "stubs")]
    try:
        import plugin
    except Exception as error:
        at = error.__traceback__
        while at.tb_next is not None:
            at = at.tb_next
        place = Path(at.tb_frame.f_code.co_filename)
        place = place.relative_to(root) if place.is_relative_to(root) else place
        end(f"{place}:{at.tb_lineno}: {type(error).__name__}: {error}\n  while `import plugin`")
    wanted = {"router": "Router", "wait-treatment": "WaitTreatment", "observer": "Observer", "connector": "Connector"}
    for name in (wanted[kind], "Settings"):
        if not hasattr(plugin, name):
            end(f"plugin.py has no `{name}`; fix: end it with a line such as `{wanted[kind]}, Settings = ...(YourClass)`")


def componentize(root):
    from componentize_py import script

    sites = [path for path in sys.path if path.endswith("/site")]
    sys.argv = ["componentize-py", "-d", str(root / "wit"), "-w", f"jackfield:sdk/{kind}@0.1.0"]
    sys.argv += ["componentize", "jackfield.component", "-s", "-o", output, "-p", str(root)]
    for site in sites:
        sys.argv += ["-p", site]
    try:
        code = script()
    except BaseException as error:
        # Behind this come the tool's own stack and ours, which help nobody.
        end(str(error).split("\nCaused by:")[0].split("\nStack backtrace:")[0].strip())
    if code:
        sys.exit(code)


kind, output = sys.argv[1:]
here = Path.cwd()
read_sources(here)
import_natively(here)
componentize(here)
