"""Training: cohorts, the LightningModule, and the Trainer around it."""
