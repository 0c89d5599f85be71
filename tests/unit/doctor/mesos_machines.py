"""Machines of a Mesos cluster as an operator's notebook has them."""

from __future__ import annotations

import json

from hrm.testing.machines import Machine

ETC = "/soft/mesos-1.6.1/mesos_install/etc/mesos"
AGENT_ENV = """# This file contains environment variables that are passed to mesos-agent.
# You must at least set MESOS_master.

export MESOS_master=172.19.0.200:5050

# export MESOS_work_dir=/var/run/mesos
export MESOS_ip=172.19.0.206      #本节点的ip;
export MESOS_port=5051           #设置Mesos的端口, Slave节点一般为5051;
export MESOS_hostname=slave06
export MESOS_log_dir=/soft/mesos-1.6.1/mesos_install/log/slave    # 设置节点的日志目录;
export MESOS_work_dir=/soft/mesos-1.6.1/mesos_install/work        #设置节点的work目录。
export MESOS_logging_level=INFO
"""
MASTER_ENV = """export MESOS_log_dir=/soft/mesos-1.6.1/mesos_install/log/master #设置日志目录;
export MESOS_work_dir=/soft/mesos-1.6.1/mesos_install/work #设置work目录,会存放一些运行信息;
export MESOS_ip=172.19.0.200 #设置ip(根据Master节点自身的ip设置);
export MESOS_port=5050 #设置Master的端口,默认是5050;
export MESOS_CLUSTER=mesos_cluster #设置集群名称;
export MESOS_hostname=master00 #Master节点的hostname, 本文中为lab1;
export MESOS_logging_level=INFO #设置日志的级别;
export MESOS_offer_timeout=60secs #设置分配资源的offer的超时时间.
"""
GPU_FLAGS = '--isolation="filesystem/linux,cgroups/devices,gpu/nvidia" --nvidia_gpu_devices="0" --resources="gpus:1"'
HOSTS = "127.0.0.1 localhost\n172.19.0.200 master00\n172.19.0.205 slave05\n172.19.0.206 slave06\n172.19.0.207 slave07\n"


def node(machine: Machine, name: str, address: str, *, gpus: int = 0) -> Machine:
    """A machine of the notebook's network, without Mesos yet."""
    said = [
        {"ifname": "lo", "addr_info": [{"local": "127.0.0.1", "prefixlen": 8}]},
        {"ifname": "eth0", "addr_info": [{"local": address, "prefixlen": 24}]},
    ]
    machine.command("ip", "-j", "address", stdout=json.dumps(said))
    machine.file("/proc/sys/kernel/hostname", f"{name}\n").file("/etc/hosts", HOSTS)
    for index in range(gpus):
        machine.file(f"/proc/driver/nvidia/gpus/0000:{0x3D + index:x}:00.0/information", "Model: GeForce RTX 2080 Ti\n")
    return machine


def agent(machine: Machine, env: str = AGENT_ENV, *, gpus: int = 0) -> Machine:
    """slave06, whose agent is set as in the notebook."""
    node(machine, "slave06", "172.19.0.206", gpus=gpus)
    # What stands beside the program is found by the program.
    machine.process(4242, "/soft/mesos-1.6.1/mesos_install/sbin/mesos-agent --logging_level=INFO")
    return machine.file(f"{ETC}/mesos-agent-env.sh", env)


def master(machine: Machine, env: str = MASTER_ENV) -> Machine:
    """master00, whose master runs."""
    node(machine, "master00", "172.19.0.200")
    machine.process(4141, "/soft/mesos-1.6.1/mesos_install/sbin/mesos-master")
    return machine.file(f"{ETC}/mesos-master-env.sh", env)
