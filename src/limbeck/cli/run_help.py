"""Help of ``limbeck run``, ``train`` and ``distill``: config groups and the main settings."""

GROUPS_AND_SETTINGS = """\
groups: GROUP=NAME chooses one, then GROUP.KEY=VALUE changes its settings
  recipe      a whole study: digits, mnist, cifar10, table, text ... ('limbeck recipes' lists all)
  data        images: digits, digit_pairs, mnist, fashion_mnist, cifar10, cifar100, aptos,
              image_folder, image_csv, image_table; tables: table, breast_cancer, diabetes;
              texts of one class each: text_csv, text_folders; for embeddings: sentences;
              to continue: text, text_folder
  student     mlp, convnet, torchvision/NAME, timm/NAME; for texts: bag, text_cnn, encoder,
              huggingface_classifier, sentence_encoder; to continue texts: gpt, huggingface
  teacher     as student, boosting (trees, for tables), tfidf (for texts), or none
  objective   kl, logits and other losses on the teacher's answers
  views       none, shift, flip, crop, crop_flip, affine, elastic, mixup ...
  store       auto, topk, sampled, off: which answers of the teacher are stored
  trainer     default: devices and precision
  launcher    local, ray: where cohorts are trained
  logger      tensorboard (default), csv, wandb, mlflow, trackio

main settings:
  seeds=5                          number of seeds, or a list: seeds=[3,7,11]
  epochs=20                        training epochs of each student
  batch_size=256                   batch size of each student
  optimizer.name=adam              adam, adamw or sgd
  optimizer.lr=0.001               learning rate
  optimizer.weight_decay=0.0001    weight decay
  optimizer.schedule=one_cycle     constant, cosine or one_cycle
  optimizer.averaging=ema          ema or swa: train with averaged weights
  objective.temperature=4          temperature of the soft targets
  objective.soft_weight=0.9        weight of the loss on the teacher's answers
  objective.hard_weight=0.1        weight of the loss on labels
  transfer.samples=0.1             number or share of the training samples that students see
  transfer.labelled=100            number or share of them that keep their labels
  teacher.from=RUN                 use an existing teacher: a run, a model folder or a file
  teacher.epochs=20                training epochs of the teacher
  teacher.members=1                number of teachers, whose mean is the teacher
  data.root=FOLDER                 folder of the data, for data in files
  data.download=true               download the data, if it is published
  trainer.accelerator=gpu          cpu, gpu or mps (default: auto)
  trainer.devices=2                number of devices
  trainer.precision=bf16-mixed     or 32-true
  out=DIR                          run folder (default: runs/<recipe>/<time>)
  overwrite=true                   replace an earlier run in that folder
  quick=true                       shrink the study to seconds, to see that it works

'limbeck run --cfg job' lists every setting with its value.
"""
