import os
import subprocess
import time

HEAD = os.environ["POD_IP"]
subprocess.run("ray start --head --num-gpus=1 &", shell=True, executable="/bin/bash")
time.sleep(7)
# workers.launch_workers(n=1, nvidia_gpu=1, code=f"!ray start --block --address={HEAD}:6379")
os.system(
    "vllm serve Qwen2-7B-Instruct --port 8081 --gpu-memory-utilization 0.25 --max-model-len 16384 > vllm.log 2>&1 &"
)
