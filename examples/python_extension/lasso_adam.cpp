// L1 for models of Python: the proximal operator, and Adam with a ProximalStep behind it
#include <torch/extension.h>
#include <torchreg/torchreg.hpp>

#include <vector>

struct LassoAdam {
  LassoAdam(const std::vector<torch::Tensor>& all, const std::vector<torch::Tensor>& penalized,
            double lr, double lambda)
      : adam(all, torch::optim::AdamOptions(lr)), prox(adam, penalized, torchreg::L1(lambda)) {}

  void step() {
    adam.step();
    prox.step();
  }

  torch::optim::Adam adam;
  torchreg::ProximalStep<torchreg::L1> prox;
};

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  module.def("prox_", [](torch::Tensor w, double lambda, double step) {
    torchreg::L1(lambda).prox_(w, step);
    return w;
  });
  pybind11::class_<LassoAdam>(module, "LassoAdam")
      .def(pybind11::init<std::vector<torch::Tensor>, std::vector<torch::Tensor>, double, double>(),
           pybind11::arg("parameters"), pybind11::arg("penalized"), pybind11::arg("lr") = 1e-3,
           pybind11::arg("penalty") = 1e-3)
      .def("step", &LassoAdam::step)
      .def("zero_grad", [](LassoAdam& self) { self.adam.zero_grad(); });
}
