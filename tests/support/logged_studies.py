"""A study as the loggers of services see it, without training."""

from limbeck.training.services.base import StudyResults

SETTINGS = {"recipe": "digits", "epochs": 2, "objective.temperature": 4.0, "quick": False}
CURVES = [
    {"soft/seed0/val_acc": 0.5, "soft/seed1/val_acc": 0.7, "hard/seed0/val_acc": 0.4, "epoch": 0},
    {"soft/seed0/train_loss": 2.0, "soft/seed1/train_loss": 1.0, "epoch": 0},
    {"soft/seed0/val_acc": 0.6, "soft/seed1/val_acc": 0.8, "hard/seed0/val_acc": 0.5, "epoch": 1},
]
TEST = {"test errors/soft": 12.5, "test errors/hard": 20.0}


def log_study(logger, folder, status="success"):
    """Log a whole study, in two stages as the teacher and a cohort."""
    report = folder / "report.html"
    report.write_text("<p>report</p>", encoding="utf-8")
    logger.log_settings(SETTINGS)
    for step, values in enumerate(CURVES, 1):
        logger.log_metrics(values, step=10 * step)
        logger.finalize("success")
    logger.log_results(
        StudyResults(
            metrics=TEST,
            columns=["arm", "Test errors"],
            rows=[["soft", "12.5 ± 1.0"], ["hard", "20.0 ± 2.0"]],
            verdict="helps",
            sentences=["Distillation helps: soft makes fewer errors."],
            report=report,
        )
    )
    logger.close(status)
