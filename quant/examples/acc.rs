use quant::*;
use quant::quantise::*;
use std::path::Path;
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let (net, w, ab) = (&a[1], a[2].parse::<u8>().unwrap(), a[3].parse::<u8>().unwrap());
    let d = "../shared/data/";
    let (pre, calib, test) = match net.as_str() {
        "resnet20_cifar10_bn" => (Preprocess::Normalise { mean: vec![0.485,0.456,0.406], std: vec![0.229,0.224,0.225] }, "cifar10_train_10k.bin.gz", "cifar10_test_5k.bin.gz"),
        "resnet8_cifar10_bn" => (Preprocess::Raw, "cifar10_train_10k.bin.gz", "cifar10_test_5k.bin.gz"),
        "minionn_relu6_cifar10" => (Preprocess::Unit, "cifar10_train_10k.bin.gz", "cifar10_test_5k.bin.gz"),
        _ => (Preprocess::Unit, "mnist-train10k-images-idx3-ubyte.gz", "mnist-t10k-images-idx3-ubyte.gz"),
    };
    let model = import_file(Path::new(&format!("{d}networks/{net}.onnx"))).unwrap();
    let t = std::time::Instant::now();
    let cal = Dataset::open(Path::new(&format!("{d}images/{calib}")), None, model.input).unwrap();
    let batch = cal.batch(0..256, &pre).unwrap();
    let data = Dataset::open(Path::new(&format!("{d}images/{test}")), None, model.input).unwrap();
    let n = 2000;
    let test = data.batch(0..n, &pre).unwrap();
    println!("load {:?}", t.elapsed());
    let t = std::time::Instant::now();
    let q = Quantiser::new(&model, &pre, &batch, [0; 32]).unwrap();
    println!("calibrate {:?}", t.elapsed());
    let layers = q.sites().layers.len();
    let mut wb = vec![w; layers]; let mut sb = vec![ab; q.sites().sites.len()];
    wb[0] = 8; wb[layers-1] = 8; sb[q.sites().layers[0].input] = 8; sb[q.sites().layers[layers-1].input] = 8;
    let asg = Assignment { weight_bits: wb, site_bits: sb };
    let t = std::time::Instant::now();
    let (graph, weights) = q.quantise(&asg).unwrap();
    println!("quantise {:?}", t.elapsed());
    let plan = fusion::fuse(&graph, &fusion::Options::default()).unwrap();
    for (_, name, l) in plan.layers() { println!("{name}: l={} e={:?}", l.ring, l.shifts.iter().max()); }
    let cost = plan.cost(1);
    println!("cost offline {} online {} setup {}", cost.offline.bytes(), cost.online.bytes(), cost.setup.bytes());
    let scale = graph.wire(graph.input()).scale; let wire = graph.wire(graph.input()); let (lo, hi) = (wire.range.lo, wire.range.hi);
    let t = std::time::Instant::now();
    let ev = fusion::Evaluator::new(&graph, &weights).unwrap();
    let [c, h, w_] = model.input; let px = h*w_;
    let labels = data.labels().unwrap(); let mut right = 0;
    for chunk in (0..n).collect::<Vec<_>>().chunks(100) {
        let mut x = vec![0i64; chunk.len()*c*px];
        for (i, &im) in chunk.iter().enumerate() { for (j, v) in test.image(im).iter().enumerate() {
            x[(j/px*chunk.len()+i)*px + j%px] = ((f64::from(*v)/scale).round() as i64).clamp(lo, hi); } }
        let y = ev.run(&x).unwrap(); let k = y.len()/chunk.len();
        for (i, &im) in chunk.iter().enumerate() {
            let best = (0..k).max_by_key(|&c| y[c*chunk.len()+i]).unwrap();
            if best == labels[im] { right += 1; } }
    }
    println!("eval {:?}", t.elapsed());
    let f = float::evaluate(&model, &test).unwrap();
    println!("{net} w{w}a{ab}: acc {:.4} float {:.4}", right as f64/n as f64, f.accuracy(&labels[..n]));
}
