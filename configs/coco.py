"""YOLACT-550 with ResNet-101 on COCO 2017: the model published as `yolact_base`.

    python train.py --config configs/coco.py --workdir runs/coco

The other configs start from this one and change a few fields.  The data section
expects the unpacked archives of https://cocodataset.org/#download:

    data/coco/annotations/instances_{train,val}2017.json
    data/coco/{train,val}2017/*.jpg

With `--config.data.dataset coco2017` they are downloaded, 20 GB, and never unpacked.

Published result: 29.8 mask AP on test-dev after 800,000 steps of 8 images.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()

    config.data = ConfigDict()
    # "coco": any json file in COCO format with its images, in the four paths below.
    # "coco2017", "coco2014", "sbd": these, from source_dir.  "shapes": generated.
    config.data.dataset = "coco"
    config.data.source_dir = ""  # where the archives were unpacked; "": download them
    config.data.records_dir = "data/records"  # prepared records, and downloads
    config.data.train_annotations = "data/coco/annotations/instances_train2017.json"
    config.data.train_images = "data/coco/train2017"
    config.data.validation_annotations = "data/coco/annotations/instances_val2017.json"
    config.data.validation_images = "data/coco/val2017"
    config.data.skip_bad = False  # leave bad images and annotations out, or stop
    config.data.input_size = 550  # side of the network input, pixels
    config.data.max_objects = 100  # ground-truth slots per image; the largest stay
    # Masks to learn: as the "original" makes them, or inside where the "center" is.
    config.data.mask_target = "original"
    config.data.num_workers = 0  # loader processes; 0 uses threads of this one

    config.augment = ConfigDict()
    config.augment.photometric = True  # brightness, contrast, saturation, hue
    config.augment.expand = True  # shrink the image onto a canvas, half of the time
    config.augment.crop = True  # random crop, five times out of six
    config.augment.mirror = True  # left to right, half of the time
    config.augment.flip_vertical = False  # upside down, half of the time
    # Not in the original: scale 0.1 to 2 instead of expand and crop, unstretched.
    config.augment.large_scale_jitter = False
    config.augment.copy_paste_probability = 0.0  # objects of another image on top
    config.augment.mosaic_probability = 0.0  # four images in one
    config.augment.min_object_px = 0.0  # area of boxes below which objects are left out

    config.model = ConfigDict()
    config.model.backbone = "resnet101"  # or "resnet18", "resnet50", "darknet53"
    config.model.backbone_width = 64  # channels of the first stage; 64 is standard
    config.model.features = 256  # channels of FPN, ProtoNet and heads
    config.model.num_prototypes = 32
    # YOLACT++: every how many ResNet blocks the 3x3 convolution is deformable; 0: none.
    config.model.deformable_interval = 0
    config.model.mask_iou = False  # YOLACT++: rescore masks by their predicted IoU
    # "yes", "no", or "auto": with pretrained weights and batches smaller than 6.
    config.model.freeze_bn = "auto"
    config.model.compute_dtype = "float32"  # of convolutions; or "bfloat16"
    # 3x3 convolutions with a quarter of the products, to 4e-6 the same: "yes", "no",
    # or "auto": on a CPU in float32.  GPU libraries choose by themselves.
    config.model.winograd = "auto"
    # Compute residual blocks again for the gradient: less memory, a third more time.
    config.model.remat = False

    config.anchors = ConfigDict()
    # Sides in pixels of the network input, one tuple per level P3 to P7.
    config.anchors.scales_px = ((24.0,), (48.0,), (96.0,), (192.0,), (384.0,))
    config.anchors.aspect_ratios = (1.0, 0.5, 2.0)  # width over height
    # The published weights need square anchors: their code used the width for both.
    config.anchors.square = True

    config.loss = ConfigDict()
    config.loss.class_weight = 1.0
    config.loss.box_weight = 1.5
    config.loss.mask_weight = 6.125
    config.loss.semantic_weight = 1.0
    config.loss.mask_iou_weight = 25.0  # of the mask scoring network, if there is one
    # Least area of a box that its mask loss is divided by, prototype pixels; 0: none.
    config.loss.min_mask_cells = 0.0
    config.loss.min_mask_area = 25  # prototype pixels above which masks teach it
    config.loss.negative_ratio = 3  # hard negatives per positive anchor
    config.loss.max_masks = 100  # positive anchors per image in the mask loss
    config.loss.positive_iou = 0.5  # least overlap of a positive anchor
    config.loss.negative_iou = 0.4  # overlap below which an anchor is background
    config.loss.crowd_iou = 0.7  # share inside a crowd that makes an anchor neutral

    config.optimizer = ConfigDict()
    config.optimizer.learning_rate = 1e-3  # for batches of 8, see scale_with_batch
    config.optimizer.warmup_rate = 1e-4  # rate of the first step
    config.optimizer.warmup_steps = 500
    config.optimizer.decay_steps = (280_000, 600_000, 700_000, 750_000)
    config.optimizer.decay_factor = 0.1
    config.optimizer.momentum = 0.9
    config.optimizer.weight_decay = 5e-4
    config.optimizer.clip_norm = 0.0  # largest norm of the gradient; 0: no limit
    # Scale the rate with the batch size, and all steps inversely.
    config.optimizer.scale_with_batch = True

    config.train = ConfigDict()
    config.train.batch_size = 8  # images per step over all devices
    # Parts that a batch is computed in, one after the other, to need less memory.
    # Batch normalisation sees one part at a time; all else is as without.
    config.train.accumulate_steps = 1
    # Moving average of all weights for evaluation and prediction, e.g. 0.999; 0: none.
    config.train.ema_decay = 0.0
    config.train.num_steps = 800_000  # for batches of 8, see scale_with_batch
    config.train.seed = 0
    # Start from a file or published weights: an ImageNet backbone as in the original,
    # e.g. "resnet101_reducedfc", or a whole model such as "yolact_base"; "": random.
    config.train.init_weights = ""
    config.train.log_every_steps = 10
    config.train.checkpoint_every_steps = 10_000
    config.train.keep_checkpoints = 3  # the newest, and the best evaluated one besides
    config.train.eval_every_steps = 0  # 0 evaluates at the end only
    # Updates with a loss or gradient that is not finite are skipped; so many in a row
    # end the run.
    config.train.max_bad_steps = 10
    # Event files for TensorBoard: "yes", "no", or "auto": if tensorboardX is installed.
    config.train.tensorboard = "auto"
    config.train.profile_steps = 0  # steps after the start to trace; 0: none

    config.eval = ConfigDict()
    config.eval.candidate_threshold = 0.05  # least best-class score to enter NMS
    config.eval.iou_threshold = 0.5  # overlap above which the lower score goes
    # "fast": Fast NMS; "cluster", "greedy_matrix", "greedy_loop": exact greedy NMS;
    # "matrix", "matrix_linear", "soft", "soft_linear": Matrix NMS and Soft-NMS, which
    # lower scores; "cross_class", "sequential": the original's alternatives.
    config.eval.nms = "fast"
    config.eval.class_agnostic = False  # boxes of different classes suppress each other
    config.eval.top_k = 200  # boxes per class that enter NMS
    config.eval.max_detections = 100  # per image
    config.eval.batch_size = 1  # images at a time on each device
    config.eval.max_images = 0  # 0 evaluates all
    config.eval.sample_images = 12  # pictures in the grid samples.png

    return config
