from made_up_results import make_results, run_script  # noqa: F401
