"""``python evaluate.py --workdir runs/shapes``; see --help."""

from yolact_jax.tools.commands.main import run_script

if __name__ == "__main__":
    run_script(__file__)
